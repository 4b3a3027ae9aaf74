"""Why the Bayesian influence scores below the exact one: noise of the draws, or the law?

Runs that differ in their random streams alone predict the same with independent noise. Let r be the
mean correlation over subsets of two halves of the R runs. Spearman and Brown's formula gives the
reliability ρ of the mean of all runs, and noise attenuates a correlation with anything else by √ρ,
so that without noise the score would be

    limit = LDS(mean of the runs) / √ρ.

What is left to the exact influence with the Hessian at the same damping is the law's: a finite nβ,
curvature beyond second order, the sampler's bias. The formula is exact for Pearson correlations of
one query; ranks and the mean over queries depart from it (a test has a simulation).

Source: Spearman 1910; Brown 1910 (attenuation and the prophecy formula).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from stagewise.config.retraining_study import Cell
from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import Resamples, interval, rank_correlations, ranked, ranks
from stagewise.evaluation.bootstrap import spearman as weighted_spearman
from stagewise.evaluation.ceiling import halvings, prophecy
from stagewise.evaluation.curves import Summary
from stagewise.evaluation.lds import lds, predicted, realised, resampled
from stagewise.evaluation.records import exact
from stagewise.evaluation.retraining_tables import Plan

Prediction = Float[np.ndarray, "subset query"]
#: Differences, and what is left between which.
STEPS = {
    "draws": ("limit", "run"),
    "law": ("exact_hessian", "limit"),
    "matrix": ("exact_ggn", "exact_hessian"),
    "behind": ("exact_ggn", "run"),
}
#: Ways to halve the runs, at most.
HALVINGS = 8
#: Exact influences that runs are compared with.
EXACT = ("exact_hessian", "exact_ggn")
COLUMNS = ("damping", "quantity", "value", "se", "low", "high", "draws", "n_subsets")


class Score(NamedTuple):
    """A score and its resamples."""

    value: float
    drawn: Float[np.ndarray, " resampling"]


def gap_table(
    cells: Sequence[Cell],
    found: xr.Dataset,
    targets: xr.Dataset,
    exact_scores: Sequence[xr.Dataset],
    plan: Plan,
) -> pd.DataFrame:
    """Return by damping the score of one run, of all, of the limit and of exact influences.

    Rows damping, quantity, value, se, low, high, draws (of all chains behind it; 0 is exact),
    n_subsets; quantities are run (mean of the single runs), pooled, limit, reliability (√ρ of the
    pooled), those of `EXACT` that are given, and the paired differences `STEPS`.

    Args:
        cells: The study's; those of axis "replicas" are used.
        found: What they predict. Dampings of which a run diverged have no rows.
        targets: Retrainings on subsets.
        exact_scores: Every setting of the exact attributors, with its words as ``setting_label``.
        plan: How intervals are made.

    Raises:
        SchemaError: There are exact scores, of none at a damping that was sampled.
    """
    loss = realised(targets)
    draws = plan.draws(*loss.shape, "sensitivity")
    replicas = [one for one in cells if one.axis == "replicas"]
    rows: list[dict[str, Any]] = []
    for damping in dict.fromkeys(one.damping for one in replicas):
        own = [one for one in replicas if one.damping == damping]
        runs = found["prediction"].sel(cell=[one.name for one in own]).values
        if not np.isfinite(runs).all():
            continue
        scores = _sampled(loss, runs, draws, plan)
        others = _same_damping(exact_scores, damping, targets)
        drawn = resampled(loss, others, draws)
        scores |= {name: Score(lds(loss, one), drawn[name]) for name, one in others.items()}
        size = own[0].chains * own[0].draws
        counts = dict.fromkeys(("pooled", "limit", "reliability"), size * len(own)) | {"run": size}
        for quantity, (value, each) in {**scores, **_differences(scores)}.items():
            ends = interval(value, each, plan.level)._asdict()
            tags = {"damping": damping, "quantity": quantity}
            more = {"draws": counts.get(quantity, 0), "n_subsets": len(loss)}
            rows.append({**tags, **ends, **more})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sampled(
    loss: Prediction,
    runs: Float[np.ndarray, "run subset query"],
    draws: Resamples,
    plan: Plan,
) -> dict[str, Score]:
    """Return the scores run, pooled and limit, and the reliability's root."""
    named = {f"{place}": one for place, one in enumerate(runs)} | {"pooled": runs.mean(axis=0)}
    drawn = resampled(loss, named, draws)
    single = [name for name in named if name != "pooled"]
    run = Score(
        float(np.mean([lds(loss, named[name]) for name in single])),
        np.mean([drawn[name] for name in single], axis=0),
    )
    pooled = Score(lds(loss, named["pooled"]), drawn["pooled"])
    root = _reliability(runs, draws, plan)
    limit = Score(_over(pooled.value, root.value), _over(pooled.drawn, root.drawn))
    return {"run": run, "pooled": pooled, "limit": limit, "reliability": root}


def _over(score: Any, root: Any) -> Any:
    """Return the quotient; NaN where runs do not agree at all."""
    return np.divide(score, np.where(np.asarray(root) > 0, root, np.nan))


def _reliability(
    runs: Float[np.ndarray, "run subset query"], draws: Resamples, plan: Plan
) -> Score:
    """Return √ρ of the mean of the runs."""
    count = len(runs)
    halves = halvings(count, HALVINGS, plan.generator("halves", "sensitivity"))
    two = [tuple(runs[list(half)].mean(axis=0) for half in pair) for pair in halves]
    value = float(np.mean([rank_correlations(a, b).mean() for a, b in two]))
    sorted_once = [tuple(ranked(half) for half in pair) for pair in two]
    found = np.empty(len(draws.subset))
    for index, (subset, query) in enumerate(zip(draws.subset, draws.query, strict=True)):
        each = [
            weighted_spearman(ranks(a, subset), ranks(b, subset), subset) for a, b in sorted_once
        ]
        found[index] = prophecy((query / query.sum()) @ np.mean(each, axis=0), count)
    return Score(prophecy(value, count), found)


def _same_damping(
    scores: Sequence[xr.Dataset], damping: float, targets: xr.Dataset
) -> dict[str, Prediction]:
    """Return what each exact attributor predicts at this damping."""
    label = f"damping {damping:g}"
    same = [one for one in scores if one.attrs["setting_label"] == label]
    if scores and not same:
        known = sorted({str(one.attrs["setting_label"]) for one in scores})
        raise SchemaError(
            f"no exact influence at {label}; there are {known}: choose replica_dampings among these"
        )
    return {str(one.attrs["method"]): predicted(one, targets) for one in same}


def _differences(scores: Mapping[str, Score]) -> dict[str, Score]:
    return {
        name: Score(
            scores[first].value - scores[second].value, scores[first].drawn - scores[second].drawn
        )
        for name, (first, second) in STEPS.items()
        if first in scores and second in scores
    }


def gap_numbers(table: pd.DataFrame) -> dict[str, Summary]:
    """Return ``gap.damping{δ in units of 1e-4}.{quantity}``, with δ itself and the draws behind."""
    found: dict[str, Summary] = {}
    for row in table.itertuples(index=False):
        start = f"gap.damping{round(1e4 * row.damping)}"
        found[f"{start}.{row.quantity}"] = Summary(row.value, row.se, int(row.n_subsets))
        found[f"{start}.damping"] = exact(row.damping)
        if row.quantity in ("run", "pooled"):
            found[f"{start}.draws_{row.quantity}"] = exact(row.draws)
    return found
