"""Entries of numbers files, and the settings that they were run with, for tests."""

import json
from pathlib import Path
from typing import Any

import yaml

from stagewise.config.root import load
from support.repository import ROOT

DEFAULT = ROOT / "config/default.yaml"


def entry(
    value: float | None = 1.0, se: float | None = None, n: int | None = None
) -> dict[str, Any]:
    """A number of the paper."""
    return {"value": value, "se": se, "n": n, "unit": "", "source": "a test"}


def settings() -> dict[str, Any]:
    """The default configuration, complete."""
    return load(yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))).model_dump(mode="json")


def write(path: Path, content: object) -> Path:
    """Writes JSON and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
