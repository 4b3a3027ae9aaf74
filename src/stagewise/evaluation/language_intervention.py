"""How much sooner, or later, induction comes where its tokens weighed more for a while.

The outcome is the first step at which accuracy on held-out induction tokens crosses a threshold,
linear between measurements. An arm's effect on one seed is the training's own crossing less the
arm's, in steps: positive is sooner. The two share batches and all weights up to the branch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from scipy import stats

from stagewise.errors import SchemaError
from stagewise.evaluation.curves import Summary, half_step, summarize
from stagewise.evaluation.records import exact

#: Coverage of the interval of an effect.
LEVEL = 0.95


def curve(training: xr.Dataset) -> xr.Dataset:
    """Return a training's own hits on induction tokens as if it were an arm, called "never"."""
    induction = training.sel({"class": "induction"}) if "class" in training.indexes else None
    if induction is None:
        place = training["class"].values.tolist().index("induction")
        induction = training.isel({"class": place})
    return xr.Dataset(
        {
            "correct": (("measured", "held"), induction["correct"].values),
            "count": (("held",), induction["count"].values),
        },
        coords={"step": ("measured", training["measured_step"].values)},
        attrs={"run_seed": training.attrs["run_seed"], "arm": "never"},
    )


def crossing(step: np.ndarray, accuracy: Float[np.ndarray, " measured"], threshold: float) -> float:
    """Return the first step at which accuracy reaches the threshold, NaN if it never does."""
    return half_step(step, accuracy, threshold)


def crossings(
    arm: xr.Dataset, threshold: float, draws: int, rng: np.random.Generator
) -> tuple[float, Float[np.ndarray, " draw"]]:
    """Return an arm's crossing and its bootstrap over held-out sequences."""
    step, correct = arm["step"].values, arm["correct"].values
    count = arm["count"].values.astype(float)
    value = crossing(step, correct.sum(1) / count.sum(), threshold)
    chosen = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=draws)
    accuracy = (correct @ chosen.T) / (chosen @ count)
    return value, np.array([crossing(step, one, threshold) for one in accuracy.T])


def curve_table(arms: Sequence[xr.Dataset]) -> pd.DataFrame:
    """Return seed, arm, step, accuracy, and the window in which the arm's tokens weighed more."""
    rows = [
        {
            "seed": int(arm.attrs["run_seed"]),
            "arm": str(arm.attrs["arm"]),
            "step": int(step),
            "accuracy": float(hits.sum() / arm["count"].values.sum()),
            "low": float(arm.attrs.get("low", np.nan)),
            "high": float(arm.attrs.get("high", np.nan)),
        }
        for arm in arms
        for step, hits in zip(arm["step"].values, arm["correct"].values, strict=True)
    ]
    return pd.DataFrame(rows)


def effects(
    arms: Sequence[xr.Dataset], names: Sequence[str], threshold: float, draws: int, seed: int
) -> dict[str, Summary]:
    """Return each arm's effect over seeds, its interval, and its error within seeds.

    ``effect.{arm}`` is the mean over seeds with its standard error, ``_low`` and ``_high`` bound
    its Student interval, ``within_se`` is the error that the held-out sequences alone make,
    ``crossed`` counts the seeds of an arm that reached the threshold.

    Raises:
        SchemaError: An arm's seed has no training of its own to compare with.
    """
    by_arm = _by_arm(arms)
    found: dict[str, Summary] = {}
    never = {}
    for key, arm in by_arm.get("never", {}).items():
        never[key] = crossings(arm, threshold, draws, np.random.default_rng([seed, key]))
    found["never.step"] = summarize([value for value, _ in never.values()])
    for name in names:
        gains, within = [], []
        for key, arm in by_arm.get(name, {}).items():
            if key not in never:
                raise SchemaError(f"arm {name!r} of seed {key} has no training to compare with")
            # Equal draws of sequences: what they share cancels.
            value, replicas = crossings(arm, threshold, draws, np.random.default_rng([seed, key]))
            gains.append(never[key][0] - value)
            both = (never[key][1] - replicas)[np.isfinite(never[key][1] - replicas)]
            within.append(both.std() if both.size else np.nan)
        found |= _summaries(name, gains, within)
    return found


def _summaries(name: str, gains: list[float], within: list[float]) -> dict[str, Summary]:
    mean = summarize(gains)
    half = mean.se * stats.t.isf((1 - LEVEL) / 2, mean.n - 1) if mean.n > 1 else np.nan
    spread = float(np.sqrt(np.square(within).sum()) / len(within)) if within else np.nan
    return {
        f"effect.{name}": mean,
        f"effect.{name}_low": exact(mean.value - half, mean.n),
        f"effect.{name}_high": exact(mean.value + half, mean.n),
        f"effect.{name}_within_se": exact(spread, mean.n),
        f"crossed.{name}": exact(float(np.isfinite(gains).sum()), len(gains)),
    }


def difference(arms: Sequence[xr.Dataset], one: str, other: str, threshold: float) -> Summary:
    """Return by how many steps arm ``one`` comes sooner than ``other``, paired by seed."""
    by_arm = _by_arm(arms)
    shared = sorted(set(by_arm.get(one, {})) & set(by_arm.get(other, {})))
    values = [
        [
            crossing(arm["step"].values, _accuracy(arm), threshold)
            for arm in (by_arm[other][key], by_arm[one][key])
        ]
        for key in shared
    ]
    return summarize([later - sooner for later, sooner in values])


def _accuracy(arm: xr.Dataset) -> np.ndarray:
    return arm["correct"].values.sum(1) / float(arm["count"].values.sum())


def _by_arm(arms: Sequence[xr.Dataset]) -> Mapping[str, Mapping[int, xr.Dataset]]:
    found: dict[str, dict[int, xr.Dataset]] = {}
    for arm in arms:
        found.setdefault(str(arm.attrs["arm"]), {})[int(arm.attrs["run_seed"])] = arm
    return found
