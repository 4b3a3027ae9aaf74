"""Compare the numbers of a run with the committed record."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from stagewise.errors import ConfigError, StagewiseError
from stagewise.evaluation.numbers import (
    Deviation,
    deviations,
    is_timing,
    parse_tolerances,
    unrecorded,
)
from stagewise.storage.metrics import read_numbers


def main(argv: Sequence[str] | None = None) -> int:
    """Prints every deviation; returns 1 for any under --strict, 2 for bad input, else 0."""
    arguments = _parser().parse_args(argv)
    try:
        found = compare(arguments.numbers, arguments.expected, arguments.tolerances)
    except StagewiseError as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    return 1 if found and arguments.strict else 0


def compare(numbers: Path, expected: Path, tolerances: Path) -> list[Deviation]:
    """Prints how the numbers differ from the record, and returns the deviations.

    Raises:
        StagewiseError: A file is missing or malformed.
    """
    if not expected.is_file():
        print(f"check: {expected} does not exist yet; `make expected` records the default run")
        return []
    found, record = read_numbers(numbers), read_numbers(expected)
    rules = parse_tolerances(_read_yaml(tolerances), str(tolerances))
    deviating = list(deviations(found, record, rules))
    for deviation in deviating:
        print(f"check: {deviation.key} {deviation.message}")
    if new := unrecorded(found, record):
        print(f"check: not in the record (`make expected` adds them): {', '.join(new)}")
    timings = sum(map(is_timing, record))
    print(
        f"check: {len(record)} recorded numbers, {timings} of them timings, which never fail; "
        f"{len(deviating)} deviate"
    )
    return deviating


def _read_yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: an empty file means no exceptions") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stagewise.cli.check",
        description="Compares the numbers of a run with the committed record. A number may differ "
        "by 5·√2·se of the record or by what tolerances.yaml allows; timings never fail.",
        allow_abbrev=False,
    )
    paths = {
        "numbers": Path("paper/generated/numbers.json"),
        "expected": Path("paper/expected/numbers.json"),
        "tolerances": Path("paper/tolerances.yaml"),
    }
    for name, path in paths.items():
        parser.add_argument(f"--{name}", type=Path, default=path, help=f"default: {path}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a number deviates")
    return parser


if __name__ == "__main__":
    sys.exit(main())
