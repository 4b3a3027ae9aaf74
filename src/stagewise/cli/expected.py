"""Record the numbers of a default run in paper/expected."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stagewise.cli.paper import missing_keys
from stagewise.cli.stage import stage
from stagewise.config.root import load
from stagewise.errors import ConfigError, SchemaError
from stagewise.files import WENT_ON, read_json
from stagewise.storage.metrics import read_numbers, write_numbers


def expected(
    numbers: Path = Path("paper/generated/numbers.json"),
    settings_file: Path = Path("paper/generated/settings.json"),
    default: Path = Path("config/default.yaml"),
    source: Path = Path("paper/main.typ"),
    out: Path = Path("paper/expected/numbers.json"),
) -> None:
    """Copies the numbers of a real run of the default configuration into the record.

    Refused if the run's settings are not those of ``--default``, if the paper needs a number that
    the run does not have, if a job resumed, so that its time is not known, or if a number of the
    old record is gone: delete the old record to drop keys on purpose.
    """
    found = read_numbers(numbers)
    refuse_other_settings(settings_file, default, "make paper")
    if missing := missing_keys(source, found, settings_file):
        raise SchemaError(f"the paper needs numbers that this run lacks: {', '.join(missing)}")
    refuse_resumed(found)
    if out.is_file() and (gone := sorted(set(read_numbers(out)) - set(found))):
        raise SchemaError(
            f"{out} has numbers that this run lacks: {', '.join(gone)}; "
            "delete the record first if they are dropped on purpose"
        )
    write_numbers(found, out)
    print(f"expected: {len(found)} numbers recorded in {out}")


def refuse_resumed(numbers: Mapping[str, Any]) -> None:
    """Refuses times that lack what earlier attempts of a job took.

    Raises:
        ConfigError: Jobs resumed; the message says of which act, and how to find them.
    """
    acts = [key for key, one in numbers.items() if key.endswith(".resumed") and one["value"]]
    if acts:
        raise ConfigError(
            f"{', '.join(acts)}: jobs went on from earlier attempts, which their times leave out; "
            f"find them (grep -rl '{WENT_ON}' results/logs), delete their outputs and run again"
        )


def refuse_other_settings(
    settings_file: Path, default: Path, command: str, over: Path | None = None
) -> None:
    """Refuses numbers that were not computed with the default configuration.

    Args:
        settings_file: Whole configuration of the run, as JSON.
        default: The default configuration, YAML.
        command: What to run, without other settings, to get the numbers of the default.
        over: A configuration that is laid over the default, such as that of the smoke run.

    Raises:
        ConfigError: The two differ; the message names the keys.
    """
    used = read_json(settings_file)
    files = [default] if over is None else [default, over]
    laid: dict[str, Any] = {}
    for path in files:
        laid = _laid_over(laid, yaml.safe_load(path.read_text(encoding="utf-8")))
    wanted = load(laid).model_dump(mode="json")
    different = sorted(_differences(used, wanted))
    if different:
        raise ConfigError(
            f"the numbers are of another configuration than {files[-1]}: "
            f"{', '.join(different)} differ; run `{command}` without other settings first"
        )


def _laid_over(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Merges two configurations as Snakemake does: the upper one's keys win, at every depth."""
    merged = dict(lower)
    for key, value in upper.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _laid_over(merged[key], value) if both else value
    return merged


def _differences(one: object, other: object, where: str = "") -> set[str]:
    """Returns the paths of the keys at which two settings differ."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return set() if one == other else {where or "all"}
    keys = set(one) | set(other)
    return {
        found
        for key in keys
        for found in _differences(one.get(key), other.get(key), f"{where}.{key}".lstrip("."))
    }


main = stage(expected)

if __name__ == "__main__":
    sys.exit(main())
