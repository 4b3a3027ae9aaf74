"""Check that this machine has what a configuration needs, and say how to get what is missing."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stagewise.cli import doctor_inputs, doctor_machine
from stagewise.cli.doctor_finding import Finding
from stagewise.config.root import Root, load
from stagewise.errors import ConfigError, StagewiseError

DEFAULT = Path("config/default.yaml")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints every finding; returns 1 if something needed is missing, 2 for a bad config."""
    arguments = _parser().parse_args(argv)
    try:
        config = read_config(arguments.configfile)
        found = list(examine(config))
    except StagewiseError as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 2
    for one in found:
        print(one)
    missing = sum(one.level == "missing" for one in found)
    name = arguments.configfile or DEFAULT
    print(f"\n{missing} missing for {name}" if missing else f"\nnothing is missing for {name}")
    return 1 if missing else 0


def examine(config: Root) -> Iterator[Finding]:
    """Look at everything that a configuration needs, cheapest first.

    Args:
        config: A whole, valid configuration; its files are looked for from this folder.
    """
    yield from doctor_machine.examine(config)
    yield from doctor_inputs.examine(config)


def read_config(path: Path | None) -> Root:
    """Read a configuration laid over the default one, as ``snakemake --configfile`` does.

    Raises:
        ConfigError: A file is missing, no YAML, or holds what is not allowed.
    """
    settings = _read(DEFAULT)
    return load(settings if path is None else _laid_over(settings, _read(path)))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run this in the repository's folder") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no settings: write keys and values, as {DEFAULT} does")
    return found


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _laid_over(result[key], value) if nested else value
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stagewise doctor",
        description="Checks Python, packages, torch and CUDA, fonts, weights, data, disk, memory "
        "and write access for a configuration, and says how to get what is missing.",
        allow_abbrev=False,
    )
    text = "laid over config/default.yaml; default: the default run"
    parser.add_argument("--configfile", type=Path, metavar="FILE", help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
