"""What a language model can do along its training, as curves with errors and as dates."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float64

from stagewise.evaluation.change_points import Change, half_fall, rise

#: Divergences from reference predictions.
DIVERGENCES = ("unigram_divergence", "bigram_divergence")
#: Attention patterns of single heads.
PATTERNS = ("previous_token", "induction_attention")
#: What one row of the table is about where it is about everything.
ALL = "all"

Weights = Float64[np.ndarray, "replicate held"]


class Measured(NamedTuple):
    """Curves over the measured steps.

    Attributes:
        step: The steps.
        table: Rows step, quantity, group (class, head or "all"), value, se.
        induction: Accuracy on induction tokens: the curve, then its replicates.
        bigram: Divergence of the bigram prediction: likewise; None where it was not measured.
    """

    step: Float64[np.ndarray, " step"]
    table: pd.DataFrame
    induction: tuple[np.ndarray, np.ndarray]
    bigram: tuple[np.ndarray, np.ndarray] | None


def measurements(training: xr.Dataset, weights: Weights) -> Measured:
    """Take losses, accuracies and scores of one training from its held-out sequences.

    Args:
        training: What `LANGUAGE_TRAINING` says.
        weights: Times that each held-out sequence is drawn, for every draw of the bootstrap.

    Returns:
        Curves; NaN for a class without held-out tokens.
    """
    step = training["measured_step"].values.astype(np.float64)
    count = training["count"].values.astype(np.float64)
    classes = training["class"].values.tolist()
    rows, kept = [], {}
    for quantity, name in (("loss", "loss_sum"), ("accuracy", "correct")):
        for index, its_class in enumerate(classes):
            value, drawn = _mean(training[name].values[..., index], count[:, index], weights)
            rows.append(_rows(step, quantity, its_class, value, drawn))
            kept[quantity, its_class] = value, drawn
    for name in DIVERGENCES:
        if name in training:
            each = training[name].values
            value, drawn = _mean(each, np.ones(each.shape[1]), weights)
            rows.append(_rows(step, name, ALL, value, drawn))
            kept[name, ALL] = value, drawn
    for name in PATTERNS:
        for layer, head in np.ndindex(training[name].shape[1:]):
            value = training[name].values[:, layer, head]
            rows.append(_rows(step, name, f"layer {layer} head {head}", value, None))
    table = pd.concat(rows, ignore_index=True).dropna(subset=["value"])
    return Measured(
        step, table, kept["accuracy", "induction"], kept.get(("bigram_divergence", ALL))
    )


def _mean(sums: np.ndarray, count: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Return Σ sums/Σ count over sequences at every step, and of every draw of the bootstrap."""
    total, drawn = count.sum(), weights @ count
    if total == 0:
        nothing = np.full(len(sums), np.nan)
        return nothing, np.full((len(weights), len(sums)), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums.sum(axis=1) / total, (weights @ sums.T) / drawn[:, None]


def _rows(
    step: np.ndarray, quantity: str, group: str, value: np.ndarray, drawn: np.ndarray | None
) -> pd.DataFrame:
    se = np.full(len(step), np.nan)
    if drawn is not None:
        known = drawn[np.isfinite(drawn).all(axis=1)]
        se = known.std(axis=0, ddof=1) if len(known) > 1 else se
    keys = {"step": step.astype(np.int64), "quantity": quantity, "group": group}
    return pd.DataFrame(keys | {"value": value, "se": se})


def dated(measured: Measured) -> dict[str, dict[str, float | None]]:
    """Date the transition to induction and the fall of the bigram divergence, as JSON holds it.

    ``transition`` is the last rise of the accuracy on induction tokens
    (`stagewise.evaluation.change_points.rise`), ``bigram`` the half of the fall of the divergence;
    null where there is none.
    """
    found = {"transition": rise(measured.step, *measured.induction)}
    if measured.bigram is not None:
        found["bigram"] = half_fall(measured.step, *measured.bigram)
    return {name: _plain(change) for name, change in found.items()}


def _plain(change: Change) -> dict[str, float | None]:
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in change._asdict().items()
    }


def change_of(stages: Mapping[str, Any], seed: int, name: str) -> Change:
    """Read a change back from the file of one run; NaN for what is null or missing."""
    found = stages.get(str(seed), {}).get(name) or {}
    return Change(*(float("nan") if found.get(f) is None else found[f] for f in Change._fields))
