"""Where two attributors disagree about the sign of an influence: who is right?

Judged are pairs (query, sample) whose Bayesian influence lies beyond two of its standard errors.
The judge is exact influence, or retraining: leaving one sample out, or the difference between
subsets that hold the sample and those that do not. Such subsets have equal size, so they tell only
whether a sample helps more than others; there both sides are taken less their mean over samples. A
noisy judge pulls every share towards a half: the shares of all pairs tell how far.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from stagewise.evaluation.bootstrap import Resamples, interval

RESOLVED = 2.0
SUBSETS = "subsets"


class Rivals(NamedTuple):
    """The two attributors' scores, negative = helpful.

    Attributes:
        bif: Bayesian influence.
        se: Its standard errors.
        ekfac: EK-FAC's influence.
    """

    bif: Float[np.ndarray, "query sample"]
    se: Float[np.ndarray, "query sample"]
    ekfac: Float[np.ndarray, "query sample"]

    def centred(self) -> "Rivals":
        """Return scores less each query's mean over samples."""
        return self._replace(bif=_centred(self.bif), ekfac=_centred(self.ekfac))

    def resolved(self) -> Bool[np.ndarray, "query sample"]:
        """Return which pairs are judged."""
        return np.abs(self.bif) > RESOLVED * self.se

    def conflicts(self) -> Bool[np.ndarray, "query sample"]:
        """Return the judged pairs whose signs differ."""
        return self.resolved() & (self.bif * self.ekfac < 0)


def _centred(value: np.ndarray) -> np.ndarray:
    return value - value.mean(axis=1, keepdims=True)


def subset_effect(
    loss: Float[np.ndarray, "subset query"],
    mask: Bool[np.ndarray, "subset sample"],
    counts: Int[np.ndarray, " subset"],
) -> Float[np.ndarray, "query sample"]:
    """Return the mean loss over subsets with the sample less that over subsets without it, nats.

    NaN for a sample that all subsets hold, or none. Subsets count ``counts`` times.
    """
    held = counts[:, None] * mask
    free = counts[:, None] * ~mask
    with np.errstate(invalid="ignore", divide="ignore"):
        return (loss.T @ held) / held.sum(axis=0) - (loss.T @ free) / free.sum(axis=0)


def share(
    value: Float[np.ndarray, "query sample"],
    judge: Float[np.ndarray, "query sample"],
    pairs: Bool[np.ndarray, "query sample"],
    weight: Int[np.ndarray, " query"],
) -> tuple[float, int]:
    """Return the share of the pairs whose sign is the judge's, and how many pairs were judged.

    Pairs that the judge knows nothing of (NaN, or exactly zero) are left out.
    """
    asked = pairs & np.isfinite(judge) & (judge != 0)
    right = (asked & (value * np.nan_to_num(judge) > 0)).sum(axis=1)
    count = int(weight @ asked.sum(axis=1))
    return (float(weight @ right / count) if count else float("nan")), count


def judged(
    rivals: Rivals, judge: Float[np.ndarray, "query sample"], draws: Resamples, level: float
) -> list[dict[str, Any]]:
    """Return rows scope, method, value, se, low, high, n by a judge without subsets' noise.

    Intervals are over queries.
    """
    every = np.ones(len(judge), np.int64)
    rows = []
    for scope, method, value, pairs in _questions(rivals):
        at, count = share(value, judge, pairs, every)
        drawn = [share(value, judge, pairs, weight)[0] for weight in draws.query]
        rows.append(_row(scope, method, at, drawn, count, level))
    return rows


def judged_by_subsets(
    rivals: Rivals, targets: xr.Dataset, draws: Resamples, level: float
) -> list[dict[str, Any]]:
    """Return the same rows as `judged`, by the subsets that hold a sample or not.

    Intervals are over queries and subsets.
    """
    centred = rivals.centred()
    loss, mask = targets["loss"].values.mean(axis=1), targets["mask"].values.astype(bool)
    every = np.ones(len(loss), np.int64), np.ones(loss.shape[1], np.int64)
    effect = subset_effect(loss, mask, every[0])
    questions = list(_questions(centred))
    drawn: list[list[float]] = [[] for _ in questions]
    for subset, query in zip(draws.subset, draws.query, strict=True):
        again = subset_effect(loss, mask, subset)
        for place, (_, _, value, pairs) in enumerate(questions):
            drawn[place].append(share(value, again, pairs, query)[0])
    rows = []
    for (scope, method, value, pairs), each in zip(questions, drawn, strict=True):
        at, count = share(value, effect, pairs, every[1])
        rows.append(_row(scope, method, at, each, count, level))
    return rows


def _questions(rivals: Rivals) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Return scope, method, its scores and the pairs asked about."""
    resolved, conflicts = rivals.resolved(), rivals.conflicts()
    return [
        ("conflicts", "bif", rivals.bif, conflicts),
        ("all", "bif", rivals.bif, resolved),
        ("all", "ekfac", rivals.ekfac, resolved),
    ]


def _row(
    scope: str, method: str, value: float, drawn: list[float], count: int, level: float
) -> dict[str, Any]:
    one = interval(value, np.array(drawn), level)
    return {"scope": scope, "method": method, **one._asdict(), "n": count}


def sign_table(
    rivals: Rivals,
    judges: Mapping[str, Float[np.ndarray, "query sample"]],
    targets: xr.Dataset,
    draws: Resamples,
    level: float,
) -> pd.DataFrame:
    """Return rows judge, scope, method, value, se, low, high, n by every judge and by subsets."""
    rows = []
    for name, judge in judges.items():
        rows += [{"judge": name, **row} for row in judged(rivals, judge, draws, level)]
    rows += [{"judge": SUBSETS, **row} for row in judged_by_subsets(rivals, targets, draws, level)]
    return pd.DataFrame(rows)
