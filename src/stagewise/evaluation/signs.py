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


def verdicts(
    value: Float[np.ndarray, "query sample"],
    judge: Float[np.ndarray, "query sample"],
    pairs: Bool[np.ndarray, "query sample"],
) -> tuple[Int[np.ndarray, " query"], Int[np.ndarray, " query"]]:
    """Return for each query how many of the pairs have the judge's sign, and how many it judged.

    Pairs that the judge knows nothing of (NaN, or exactly zero) are not judged.
    """
    asked = pairs & np.isfinite(judge) & (judge != 0)
    right = asked & (value * np.nan_to_num(judge) > 0)
    return right.sum(axis=1), asked.sum(axis=1)


def share(
    found: tuple[Int[np.ndarray, " query"], Int[np.ndarray, " query"]],
    weight: Int[np.ndarray, "*resampling query"],
) -> Float[np.ndarray, "*resampling"]:
    """Return the share of the judged pairs that have the judge's sign; NaN where there are none."""
    right, asked = weight @ found[0], weight @ found[1]
    with np.errstate(invalid="ignore"):
        return np.asarray(right / asked)


def judged(
    rivals: Rivals, judge: Float[np.ndarray, "query sample"], draws: Resamples, level: float
) -> list[dict[str, Any]]:
    """Return rows scope, method, value, se, low, high, n by a judge without subsets' noise.

    Intervals are over queries.
    """
    rows = []
    for scope, method, value, pairs in _questions(rivals):
        found = verdicts(value, judge, pairs)
        rows.append(_row(scope, method, found, share(found, draws.query), level))
    return rows


def judged_by_subsets(
    rivals: Rivals, targets: xr.Dataset, draws: Resamples, level: float
) -> list[dict[str, Any]]:
    """Return the same rows as `judged`, by the subsets that hold a sample or not.

    Intervals are over queries and subsets.
    """
    loss, mask = targets["loss"].values.mean(axis=1), targets["mask"].values.astype(bool)
    questions = _questions(rivals.centred())
    drawn = np.empty((len(questions), len(draws.subset)))
    for index, (subset, query) in enumerate(zip(draws.subset, draws.query, strict=True)):
        effect = subset_effect(loss, mask, subset)
        drawn[:, index] = [
            share(verdicts(value, effect, pairs), query) for *_, value, pairs in questions
        ]
    effect = subset_effect(loss, mask, np.ones(len(loss), np.int64))
    return [
        _row(scope, method, verdicts(value, effect, pairs), each, level)
        for (scope, method, value, pairs), each in zip(questions, drawn, strict=True)
    ]


def _questions(rivals: Rivals) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Return scope, method, its scores and the pairs asked about."""
    resolved, conflicts = rivals.resolved(), rivals.conflicts()
    return [
        ("conflicts", "bif", rivals.bif, conflicts),
        ("all", "bif", rivals.bif, resolved),
        ("all", "ekfac", rivals.ekfac, resolved),
    ]


def _row(
    scope: str, method: str, found: tuple[np.ndarray, np.ndarray], drawn: np.ndarray, level: float
) -> dict[str, Any]:
    value = float(share(found, np.ones(len(found[1]), np.int64)))
    one = interval(value, drawn, level)
    return {"scope": scope, "method": method, **one._asdict(), "n": int(found[1].sum())}


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
