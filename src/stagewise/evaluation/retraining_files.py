"""What retraining found and what attributors said, gathered by problem.

Scores of hundreds of settings do not fit into memory together, so of each file only its predictions
are kept: the sums over subsets, and the changes without one sample.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import rank_correlations
from stagewise.evaluation.lds import describe, lds, predicted, realised
from stagewise.evaluation.loo import changes, predicted_changes

ROLES = ("scored", "tuning", "loo", "removal")
#: The fraction of the training set at which settings are chosen and costs are compared.
MAIN_ALPHA = 0.5
Prediction = Float[np.ndarray, "subset query"]


class Truth(NamedTuple):
    """Retraining targets of one problem.

    Attributes:
        problem: Its name.
        scored: By α, the subsets that attributors are judged on.
        tuning: Subsets that settings are chosen on.
        loo: Retrainings without one sample.
        removal: Retrainings without the most helpful samples.
    """

    problem: str
    scored: Mapping[float, xr.Dataset]
    tuning: xr.Dataset | None
    loo: xr.Dataset | None
    removal: xr.Dataset | None

    def models_trained(self) -> int:
        """Return how many networks were trained for all of them."""
        return sum(int(one.attrs["models_trained"]) for one in self.all())

    def all(self) -> list[xr.Dataset]:
        """Return every set of targets."""
        rest = (self.tuning, self.loo, self.removal)
        return [*self.scored.values(), *(one for one in rest if one is not None)]


class Candidate(NamedTuple):
    """One setting of one attributor, and what it predicts.

    Attributes:
        problem: Name of the problem.
        method: Name of the attributor.
        setting: Its number.
        label: The setting in words.
        seconds: What a user would pay for it.
        megabytes: Its peak memory.
        scored: By α, predicted losses of the scored subsets.
        tuning: Predicted losses of the tuning subsets.
        loo: Predicted changes without one sample.
    """

    problem: str
    method: str
    setting: int
    label: str
    seconds: float
    megabytes: float
    scored: Mapping[float, Prediction]
    tuning: Prediction | None
    loo: Prediction | None


def truths(targets: Iterable[xr.Dataset]) -> dict[str, Truth]:
    """Sort targets by problem and role.

    Raises:
        SchemaError: A role is unknown or twice there, or an attribute is missing.
    """
    sets: dict[str, dict[tuple[str, float], xr.Dataset]] = {}
    for one in targets:
        role = one.attrs.get("role")
        if role not in ROLES or not {"problem", "alpha", "models_trained"} <= set(one.attrs):
            raise SchemaError(
                f"{describe(one)}: attributes {sorted(one.attrs)}; allowed roles are {ROLES}, with "
                "problem, alpha and models_trained: run the retraining stage again"
            )
        own = sets.setdefault(str(one.attrs["problem"]), {})
        key = role, (float(one.attrs["alpha"]) if role == "scored" else 0.0)
        if key in own:
            raise SchemaError(f"{describe(one)} are given twice; give each file once")
        own[key] = one
    return {name: _truth(name, own) for name, own in sets.items()}


def _truth(problem: str, sets: Mapping[tuple[str, float], xr.Dataset]) -> Truth:
    scored = {alpha: one for (role, alpha), one in sorted(sets.items()) if role == "scored"}
    tuning, loo, removal = (sets.get((role, 0.0)) for role in ROLES[1:])
    if scored and tuning is None:
        raise SchemaError(
            f"{problem} has scored subsets and none to choose settings on; add its tuning targets"
        )
    return Truth(problem, scored, tuning, loo, removal)


def candidate(scores: xr.Dataset, found: Mapping[str, Truth]) -> Candidate:
    """Take a setting's predictions.

    Raises:
        SchemaError: It is of a problem without targets, its ids are others than the targets', a
            score is not finite, or an attribute is missing.
    """
    at = scores.attrs
    needed = {"problem", "setting", "setting_label", "seconds", "peak_memory_mb"}
    if not needed <= set(at):
        raise SchemaError(
            f"scores of {at['method']} lack the attribute(s) {sorted(needed - set(at))}; run its "
            "stage again"
        )
    truth = found.get(str(at["problem"]))
    if truth is None:
        raise SchemaError(
            f"scores of {at['method']} are of {at['problem']!r}, which has no targets; there are "
            f"{sorted(found)}: give its targets too"
        )
    return Candidate(
        truth.problem,
        str(at["method"]),
        int(at["setting"]),
        str(at["setting_label"]),
        float(at["seconds"]),
        float(at["peak_memory_mb"]),
        {alpha: predicted(scores, one) for alpha, one in truth.scored.items()},
        None if truth.tuning is None else predicted(scores, truth.tuning),
        None if truth.loo is None else predicted_changes(scores, truth.loo),
    )


def tuning_score(one: Candidate, truth: Truth) -> float:
    """Return what settings are chosen by: LDS on the tuning subsets.

    A problem without these is tuned on every second of the left-out samples; see `scored_left_out`.
    """
    if truth.tuning is not None:
        return lds(realised(truth.tuning), one.tuning)
    if truth.loo is None:
        return float("nan")
    return float(rank_correlations(changes(truth.loo).mean(axis=1)[1::2], one.loo[1::2]).mean())


def scored_left_out(truth: Truth) -> slice:
    """Return which left-out samples are scored: all, or those that nothing was chosen on."""
    return slice(None) if truth.tuning is not None else slice(0, None, 2)


def chosen(
    candidates: Iterable[Candidate], found: Mapping[str, Truth]
) -> dict[str, dict[str, Candidate]]:
    """Return the best setting on the tuning subsets, by problem and method; the first of equals."""
    best: dict[str, dict[str, tuple[float, Candidate]]] = {}
    for one in sorted(candidates, key=lambda one: (one.problem, one.method, one.setting)):
        own = best.setdefault(one.problem, {})
        score = tuning_score(one, found[one.problem])
        if one.method not in own or score > own[one.method][0]:
            own[one.method] = score, one
    return {
        problem: {method: one for method, (_, one) in own.items()} for problem, own in best.items()
    }
