"""Print the samples that help and harm one query most, with standard errors."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from stagewise.cli.retraining_choice import read_choice
from stagewise.cli.stage import stage
from stagewise.errors import ConfigError
from stagewise.estimators.influence import bif
from stagewise.evaluation.query import near_names, ranked
from stagewise.storage import netcdf
from stagewise.storage import scores as scores_file
from stagewise.storage import trace as trace_file

#: Where experiments keep what queries can be answered from: name of the experiment, files.
PLACES = {
    "toy/*": "toy/{}/bif/main/seed*.nc",
    "calibration/*": "calibration/{}/runs/calibrated.nc",
    "vision/*": "vision/{}/traces/judged_chain*.nc",
    "retraining/*": "retraining/{}/scores/bif_*.nc",
}


def query(
    item: str,
    top: int = 10,
    scores: Path | None = None,
    trace: list[Path] | None = None,
    experiment: str | None = None,
    step: int | None = None,
    results: Path = Path("results"),
) -> None:
    """Prints the samples with the largest influence of each sign on the query ``--item``.

    ``--scores`` takes a file of scores, ``--trace`` a loss trace (or the blocks of chains of one),
    ``--experiment`` a name under ``--results`` such as toy/balanced, calibration/digits or
    vision/glyphs. Without any of them the experiments there are searched for the item; of several
    seeds the first answers, of several settings the chosen one. ``--step`` chooses a checkpoint,
    the last by default. Influence between classes of tokens has no queries.
    """
    if sum(one is not None for one in (scores, trace, experiment)) > 1:
        raise ConfigError("--scores, --trace and --experiment exclude each other; give one")
    if scores is not None:
        found, name = _read([scores]), str(scores)
    elif trace is not None:
        found, name = _read(trace), ", ".join(map(str, trace))
    else:
        name, files = _experiment_of(item, experiment, results)
        found = _read(files)
    ranking = ranked(found, item, top, step)
    at = "" if ranking.step is None else f", step {ranking.step}"
    print(f"{item} in {name} ({found.attrs['method']}{at})")
    if scores is None and trace is None:
        print(f"of {', '.join(map(str, files))}")
    print(
        "helps = -d(loss of the query)/d(weight of the sample), up to one factor, ± standard error"
    )
    _print("most helpful", ranking.helpful, item)
    _print("most harmful", ranking.harmful, item)
    share = f"{ranking.noise:.0%} of {found.sizes['sample']} samples"
    print(f"\nwithin two standard errors of none (marked ~): {share}")


def _print(title: str, table: pd.DataFrame, item: str) -> None:
    print(f"\n{title}" + ("" if len(table) else ": none"))
    width = max((len(one) for one in table["sample"]), default=0)
    for rank, (sample, helps, se) in enumerate(
        zip(table["sample"], table["helps"], table["se"], strict=True), start=1
    ):
        mark = "~" if abs(helps) <= 2 * se else " "
        itself = "  the query itself" if sample == item else ""
        print(f"{rank:4} {mark} {sample:{width}}  {helps:+10.3g} ± {se:.2g}{itself}")


def _read(paths: Sequence[Path]) -> xr.Dataset:
    """Read scores, or estimate them from a trace or from the blocks of one."""
    first = netcdf.read(paths[0])
    if first.attrs.get("schema") != trace_file.TRACE.name:
        return scores_file.read(paths[0])
    blocks = [trace_file.read(path) for path in paths]
    return bif(trace_file.merge(blocks) if len(blocks) > 1 else blocks[0])


def experiments(results: Path) -> Mapping[str, list[Path]]:
    """Return the files of every experiment under a folder of results, by its name."""
    found: dict[str, list[Path]] = {}
    for name, pattern in PLACES.items():
        act = name.partition("/")[0]
        for path in sorted(results.glob(pattern.format("*"))):
            found.setdefault(f"{act}/{path.relative_to(results).parts[1]}", []).append(path)
    return {name: _one_run(paths) for name, paths in found.items()}


def _one_run(paths: Sequence[Path]) -> list[Path]:
    """Keep all blocks of chains of a run, but one seed of several, or the chosen setting."""
    blocks = [path for path in paths if re.search(r"_chain\d+$", path.stem)]
    choice = paths[0].parent.with_name("choice.json")
    if choice.is_file():
        chosen = paths[0].with_name(f"bif_{read_choice(choice).get('bif', 0)}.nc")
        return [chosen if chosen in paths else paths[0]]
    return blocks or list(paths[:1])


def _experiment_of(item: str, name: str | None, results: Path) -> tuple[str, list[Path]]:
    known = experiments(results)
    if not known:
        raise ConfigError(
            f"{results} holds no experiment with scores: run `make paper`, name another folder "
            "with --results, or a file with --scores or --trace"
        )
    if name is not None:
        if name not in known:
            near = near_names(name, list(known)) or list(known)
            raise ConfigError(
                f"no experiment {name!r} under {results}; there are {', '.join(near)}"
            )
        return name, known[name]
    asked = {}
    for one, paths in known.items():
        dataset = netcdf.read(paths[0])
        asked[one] = dataset["query" if "query" in dataset.coords else "sample"].values.tolist()
    for one, names in asked.items():
        if item in names:
            return one, known[one]
    near = near_names(item, [other for names in asked.values() for other in names])
    raise ConfigError(
        f"no query of {', '.join(known)} is called {item!r}; "
        + (f"near it are {', '.join(near)}" if near else "stagewise query --help says how to ask")
    )


main = stage(query)

if __name__ == "__main__":
    sys.exit(main())
