"""Stage: every attributor against the same retrainings, with intervals and a noise ceiling."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.retraining_tables import RetrainingTableStage
from stagewise.errors import SchemaError
from stagewise.evaluation.lds import aligned
from stagewise.evaluation.loo import left_out_effect
from stagewise.evaluation.mislabel import detection
from stagewise.evaluation.retraining_files import MAIN_ALPHA, Candidate, Truth, candidate, chosen
from stagewise.evaluation.retraining_files import truths as sorted_truths
from stagewise.evaluation.retraining_numbers import retraining_numbers
from stagewise.evaluation.retraining_tables import (
    BIF,
    EKFAC,
    Plan,
    ceiling_table,
    cost_table,
    loo_table,
    removal_tables,
    score_tables,
    settings_table,
)
from stagewise.evaluation.signs import Rivals, sign_table
from stagewise.files import atomic_path
from stagewise.storage import mislabel as mislabel_file
from stagewise.storage import scores as scores_file
from stagewise.storage import targets as targets_file
from stagewise.storage.metrics import write_numbers

#: Methods that judge who is right about a sign.
JUDGES = ("exact_ggn", "exact_hessian")
Paths = dict[tuple[str, str, int], Path]


def retraining_tables(
    settings: RetrainingTableStage,
    targets: list[Path],
    scores: list[Path],
    tables: Path,
    numbers: Path,
    mislabel: list[Path] | None = None,
) -> None:
    """Judges attributors by retraining; settings are chosen on subsets that are not scored."""
    plan = Plan(settings.seed, settings.resamplings, settings.level, settings.splits)
    # First, since a file that is refused should be so before all the resampling.
    detected = _mislabel(mislabel or [], plan)
    found = sorted_truths(targets_file.read(path) for path in targets)
    candidates, paths = _candidates(scores, found)
    best = chosen(candidates, found)
    made = {"retraining_settings": settings_table(candidates, found, best)}
    made["retraining_lds"], made["retraining_difference"] = score_tables(found, best, plan)
    made["retraining_ceiling"] = ceiling_table(found, plan)
    made["retraining_loo"] = loo_table(found, best, plan)
    made["retraining_removal"] = removal_tables(found, plan)
    made["retraining_signs"] = _signs(found, best, paths, plan)
    made["retraining_mislabel"] = detected
    made["retraining_cost"] = cost_table(made["retraining_settings"], made["retraining_lds"])
    for name, table in made.items():
        with atomic_path(tables / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    write_numbers(retraining_numbers(made, found, study=settings.study), numbers)


def _candidates(
    scores: Sequence[Path], found: Mapping[str, Truth]
) -> tuple[list[Candidate], Paths]:
    """Read every setting's scores, one at a time, and keep what they predict."""
    candidates: list[Candidate] = []
    paths: Paths = {}
    for path in scores:
        one = candidate(scores_file.read(path), found)
        key = one.problem, one.method, one.setting
        if key in paths:
            raise SchemaError(f"{path} and {paths[key]} are both {key}; give each setting once")
        paths[key] = path
        candidates.append(one)
    return candidates, paths


def _signs(
    found: Mapping[str, Truth],
    best: Mapping[str, Mapping[str, Candidate]],
    paths: Paths,
    plan: Plan,
) -> pd.DataFrame:
    columns = ["problem", "judge", "scope", "method", "value", "se", "low", "high", "n"]
    parts = []
    for problem, truth in found.items():
        own = best.get(problem, {})
        if not {BIF, EKFAC} <= set(own) or MAIN_ALPHA not in truth.scored:
            continue
        targets = truth.scored[MAIN_ALPHA]
        read = {
            method: scores_file.read(paths[problem, method, own[method].setting])
            for method in (BIF, EKFAC, *JUDGES)
            if method in own
        }
        table = _sign_table(problem, truth, targets, read, plan)
        parts.append(table.assign(problem=problem))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _sign_table(
    problem: str, truth: Truth, targets: xr.Dataset, read: Mapping[str, xr.Dataset], plan: Plan
) -> pd.DataFrame:
    errors = read[BIF].assign(value=read[BIF]["se"])
    rivals = Rivals(*(aligned(one, targets) for one in (read[BIF], errors, read[EKFAC])))
    judges = {name: aligned(read[name], targets) for name in JUDGES if name in read}
    if truth.loo is not None:
        ids = {name: targets[name].values.astype(str) for name in ("query", "sample")}
        judges["leave_one_out"] = left_out_effect(truth.loo).reindex(ids).values
    subsets, _, queries = targets["loss"].shape
    draws = plan.draws(subsets, queries, problem, "signs")
    return sign_table(rivals, judges, targets, draws, plan.level)


def _mislabel(paths: Sequence[Path], plan: Plan) -> pd.DataFrame:
    """Rows problem, method, value, se, n, flipped."""
    rows = []
    for path in paths:
        one = mislabel_file.read(path)
        method, problem = (str(one.attrs[name]) for name in ("method", "problem"))
        flipped = one["flipped"].values.astype(bool)
        if not 0 < flipped.sum() < len(flipped):
            raise SchemaError(
                f"{path}: {int(flipped.sum())} of {len(flipped)} labels are flipped; some must be, "
                "and some not: train on flipped labels again"
            )
        # The same images are drawn for every method.
        area = detection(one["value"].values, flipped, plan.generator("mislabel", problem))
        row = {"problem": problem, "method": method, **area._asdict()}
        rows.append({**row, "flipped": int(np.sum(flipped))})
    return pd.DataFrame(rows, columns=["problem", "method", "value", "se", "n", "flipped"])


main = stage(retraining_tables)

if __name__ == "__main__":
    sys.exit(main())
