"""The linear datamodelling score: do an attributor's scores predict what retraining does?

LDS = mean over queries q of Spearman over subsets S (loss of q after training on S,
Σ_{i∈S} s(q, i)), with the loss a mean over seeds and s in the sense of the Bayesian influence
function, negative = helpful: the LDS of a good attributor is positive.

Source: Ilyas et al. 2022 (datamodels); Park et al. 2023, arXiv:2303.14186 (TRAK, which names it).
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import (
    Ranked,
    Resamples,
    rank_correlations,
    ranked,
    ranks,
    spearman,
)

Predictions = Mapping[str, Float[np.ndarray, "subset query"]]


def describe(targets: xr.Dataset) -> str:
    """Return what to call targets in a message."""
    at = targets.attrs
    return (
        f"{at.get('role', '?')} targets of {at.get('problem', '?')} at α = {at.get('alpha', '?')}"
    )


def realised(targets: xr.Dataset) -> Float[np.ndarray, "subset query"]:
    """Return the loss of each query after training on each subset, mean over seeds.

    Raises:
        SchemaError: There are fewer than two seeds, so that nothing is known of the noise.
    """
    seeds = targets.sizes["seed"]
    if seeds < 2:
        raise SchemaError(
            f"{describe(targets)} have {seeds} seed; two at least are needed to tell what a subset "
            "does from what a seed does: retrain with more seeds"
        )
    return targets["loss"].values.mean(axis=1)


def aligned(scores: xr.Dataset, targets: xr.Dataset) -> Float[np.ndarray, "query sample"]:
    """Return scores in the order of the targets' queries and samples.

    Raises:
        SchemaError: The samples are others than the targets', a query is missing, or a score is not
            finite; the message names the method.
    """
    method = scores.attrs["method"]
    order = {}
    for name, exact in (("sample", True), ("query", False)):
        wanted, given = (one[name].values.astype(str).tolist() for one in (targets, scores))
        lacking, beyond = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        if lacking or (exact and beyond):
            raise SchemaError(
                f"{method} scored other {name} ids than the {describe(targets)}: it lacks "
                f"{lacking[:3]} ({len(lacking)} in all), beside them it has {beyond[:3]} "
                f"({len(beyond)}); run the attributor on the data that was retrained"
            )
        place = {one: index for index, one in enumerate(given)}
        order[name] = [place[one] for one in wanted]
    value = scores["value"].values
    if value.ndim != 2:
        raise SchemaError(
            f"{method} gave scores of shape {value.shape}; allowed is (query, sample): reduce them"
        )
    value = value[np.ix_(order["query"], order["sample"])]
    if bad := int((~np.isfinite(value)).sum()):
        raise SchemaError(
            f"{method} gave {bad} scores that are not finite; allowed are finite ones: mend the "
            "method, or leave it out of the config"
        )
    return value


def predicted(scores: xr.Dataset, targets: xr.Dataset) -> Float[np.ndarray, "subset query"]:
    """Return Σ_{i∈S} s(q, i) for every subset of the targets.

    Raises:
        SchemaError: As in `aligned`.
    """
    return targets["mask"].values.astype(np.float64) @ aligned(scores, targets).T


def lds(
    loss: Float[np.ndarray, "subset query"], prediction: Float[np.ndarray, "subset query"]
) -> float:
    """Return the linear datamodelling score."""
    return float(rank_correlations(loss, prediction).mean())


def resampled(
    loss: Float[np.ndarray, "subset query"], predictions: Predictions, draws: Resamples
) -> dict[str, Float[np.ndarray, " resampling"]]:
    """Return every method's score in every resample of subsets and queries.

    All methods see the same resamples, so that differences of two methods are paired.
    """
    truth = ranked(loss)
    sorted_once: dict[str, Ranked] = {name: ranked(one) for name, one in predictions.items()}
    found = {name: np.empty(len(draws.subset)) for name in predictions}
    for index, (subset, query) in enumerate(zip(draws.subset, draws.query, strict=True)):
        true_ranks, weight = ranks(truth, subset), query / query.sum()
        for name, one in sorted_once.items():
            found[name][index] = weight @ spearman(true_ranks, ranks(one, subset), subset)
    return found
