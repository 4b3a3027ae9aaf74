"""Stage: the language experiments as tables and numbers; claims about them are tested here."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from stagewise.cli.stage import stage
from stagewise.config.language import LanguageTableStage
from stagewise.errors import SchemaError
from stagewise.evaluation.language_numbers import run_numbers
from stagewise.evaluation.language_stages import change_of
from stagewise.evaluation.language_tables import (
    SeedResult,
    cancel_table,
    claim_table,
    curve_table,
    heat_table,
    llc_table,
    text_table,
)
from stagewise.files import atomic_path, read_json
from stagewise.seeds import generator
from stagewise.storage import language_influence
from stagewise.storage.metrics import write_numbers

_TABLES: dict[str, Callable[[SeedResult], pd.DataFrame]] = {
    "language_curves": curve_table,
    "language_heat": heat_table,
    "language_text": text_table,
    "language_llc": llc_table,
    "language_cancel": cancel_table,
    "language_claims": claim_table,
}


def language_tables(
    settings: LanguageTableStage,
    stages: list[Path],
    influence: list[Path],
    measures: list[Path],
    tables: Path,
    numbers: Path,
) -> None:
    """Puts stages and influence of all runs together; the main run comes first everywhere.

    ``--stages`` and ``--measures`` are the two outputs of language_stages, one of each per run and
    in the same order. Trainings without influence, such as a pilot, are left out.
    """
    measured = {path: _measures(path) for path in measures}
    dates = {
        str(measured[path]["run"].iloc[0]): read_json(dated)
        for path, dated in zip(measures, stages, strict=True)
    }
    results = _results(settings.main, influence, dates)
    for name, make in _TABLES.items():
        _write(pd.concat([make(one) for one in results], ignore_index=True), tables, name)
    scored = pd.DataFrame([(one.run, one.seed) for one in results], columns=["run", "seed"])
    scores = scored.merge(pd.concat(measured.values(), ignore_index=True), on=["run", "seed"])
    _write(scores, tables, "language_scores")
    entries: dict[str, dict] = {}
    for run in dict.fromkeys(one.run for one in results):
        own = [one for one in results if one.run == run]
        prefix = "language" if run == settings.main else f"language.{run}"
        rng = generator(settings.seed, "language", run, "shifts")
        draws = 100 * settings.bootstrap
        entries |= run_numbers(own, scores[scores["run"] == run], prefix, rng, draws)
    write_numbers(entries, numbers)


def _measures(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise SchemaError(f"{path} does not exist; run language_stages first")
    return pd.read_csv(path)


def _results(main: str, paths: Sequence[Path], dates: dict[str, dict]) -> list[SeedResult]:
    """Returns all scored trainings, those of the main run first."""
    results = []
    for path in paths:
        found = language_influence.read(path)
        run, seed = str(found.attrs["run"]), int(found.attrs["run_seed"])
        if run not in dates or str(seed) not in dates[run]:
            raise SchemaError(f"{path} is of {run} seed {seed}, which has no stages; pass them too")
        change = {name: change_of(dates[run], seed, name) for name in ("transition", "bigram")}
        results.append(SeedResult(run, seed, found, change["transition"], change["bigram"]))
    return sorted(results, key=lambda one: (one.run != main, one.run, one.seed))


def _write(table: pd.DataFrame, folder: Path, name: str) -> None:
    with atomic_path(folder / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False)


main = stage(language_tables)

if __name__ == "__main__":
    sys.exit(main())
