"""Committed files that a program writes are what it would write now."""

import json
from pathlib import Path

import pytest
import yaml

from stagewise.cli import environment, schema
from stagewise.config.root import load
from support.repository import ROOT

CONFIGS = sorted((ROOT / "config").glob("*.yaml"))


def test_schema_is_in_step_with_the_models(tmp_path: Path) -> None:
    """Remedy: ``.venv/bin/python -m stagewise.cli.schema``."""
    schema.main(["--out", str(tmp_path / "schema.json")])
    written = (tmp_path / "schema.json").read_text(encoding="utf-8")
    assert (ROOT / "config" / "schema.json").read_text(encoding="utf-8") == written
    assert json.loads(written)["additionalProperties"] is False


def test_the_conda_environment_of_the_rules_is_in_step_with_the_lock(tmp_path: Path) -> None:
    """Remedy: ``make lock``."""
    written = tmp_path / "stagewise.yaml"
    environment.environment(lock=ROOT / "requirements.lock", out=written)
    committed = ROOT / "workflow" / "envs" / "stagewise.yaml"
    assert committed.read_text(encoding="utf-8") == written.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_valid(path: Path) -> None:
    load(merged(yaml.safe_load((ROOT / "config" / "default.yaml").read_text()), read(path)))


def test_there_are_the_three_configurations() -> None:
    assert {"default", "smoke", "paper"} <= {path.stem for path in CONFIGS}


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def merged(below: dict, above: dict) -> dict:
    """Lays one configuration over another, as Snakemake does with --configfile."""
    result = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if nested else value
    return result
