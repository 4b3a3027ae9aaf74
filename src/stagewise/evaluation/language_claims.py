"""Claims about influence between classes of tokens, tested: peaks, signs, reversals, sums.

Curves are helpfulness, the negative of influence in the BIF sense: positive = helps.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from stagewise.errors import ConfigError
from stagewise.estimators.crosschain import LARGEST_Z
from stagewise.estimators.gates import familywise_z

#: Chance, over all that is looked at in one training, that noise alone makes a change of sign or a
#: reversal.
FAMILY_RATE = 0.05
#: Most circular shifts that are listed one by one.
MOST_SHIFTS = 200_000

Curve = Float64[np.ndarray, " checkpoint"]


class Peak(NamedTuple):
    """Where a curve is highest, in optimiser steps, and the height; errors over replicates."""

    step: float
    se: float
    low: float
    high: float
    height: float


class ShiftTest(NamedTuple):
    """Is the mean distance of peaks from transitions smaller than chance makes it?

    Attributes:
        distance: Mean over seeds of |peak - transition|, steps.
        expected: Mean of the same over all circular shifts.
        p: Share of the circular shifts, the curves as they are included, at which it is no larger.
        p_mismatched: Share of the assignments of transitions to seeds, the true one included.
    """

    distance: float
    expected: float
    p: float
    p_mismatched: float


class Sum(NamedTuple):
    """What is left of a curve that is summed over training.

    Attributes:
        total: Σ_t η Δt x_t.
        size: Σ_t η Δt |x_t|.
        cancelled: 1 - |total|/size; NaN where the size is 0.
    """

    total: np.ndarray
    size: np.ndarray
    cancelled: np.ndarray


def peak_step(step: Float64[np.ndarray, " checkpoint"], curve: Curve) -> float:
    """Return the step of the maximum: that of the parabola through the highest point's neighbours.

    At either end of the grid it is the end itself; NaN where the curve is not known everywhere.
    """
    if not np.isfinite(curve).all():
        return float("nan")
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return float(step[top])
    around = slice(top - 1, top + 2)
    curvature, slope, _ = np.polyfit(step[around] - step[top], curve[around] - curve[top], 2)
    if curvature >= 0:
        return float(step[top])
    vertex = step[top] - slope / (2 * curvature)
    return float(np.clip(vertex, step[top - 1], step[top + 1]))


def peak(
    step: Float64[np.ndarray, " checkpoint"],
    curve: Curve,
    replicates: Float64[np.ndarray, "replicate checkpoint"],
) -> Peak:
    """Return the peak with the spread of the replicates' peaks for its error."""
    drawn = np.array([peak_step(step, one) for one in replicates])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < 2:
        nan = float("nan")
        return Peak(peak_step(step, curve), nan, nan, nan, float(np.max(curve)))
    low, high = np.quantile(drawn, (0.025, 0.975))
    height = float(np.max(curve))
    return Peak(peak_step(step, curve), float(drawn.std(ddof=1)), float(low), float(high), height)


def shift_test(
    steps: Sequence[np.ndarray],
    curves: Sequence[np.ndarray],
    transitions: Sequence[float],
    rng: np.random.Generator,
    draws: int,
) -> ShiftTest:
    """Test whether peaks lie at transitions.

    Null: each seed's curve is shifted around its own grid of checkpoints. The grids are dense at
    the pilot's transition, so that shifted peaks are dense there too: the test is a hard one. And
    transitions of other seeds: where all seeds change at about the same step, this cannot reject.

    Args:
        steps: Checkpoints of every seed.
        curves: Helpfulness at them.
        transitions: Step of the measured transition of every seed; NaN leaves the seed out.
        rng: For shifts, where there are too many to list.
        draws: Number of these.

    Raises:
        ConfigError: The lists are of different lengths.
    """
    if not len(steps) == len(curves) == len(transitions):
        raise ConfigError(f"{len(steps)} grids, {len(curves)} curves: pass one of each per seed")
    known = [
        index
        for index, when in enumerate(transitions)
        if math.isfinite(when) and np.isfinite(curves[index]).all()
    ]
    if not known:
        return ShiftTest(*[float("nan")] * 4)
    distances = []
    for index in known:
        shifted = [np.roll(curves[index], k) for k in range(len(curves[index]))]
        peaks = np.array([peak_step(steps[index], one) for one in shifted])
        distances.append(np.abs(peaks - transitions[index]))
    observed = float(np.mean([one[0] for one in distances]))
    null = _all_sums(distances, rng, draws) / len(known)
    # The curves as they are count among the shifts, also where these are drawn.
    p = (np.sum(null <= observed * (1 + 1e-12)) + 1) / (null.size + 1)
    if null.size == math.prod(len(one) for one in distances):
        p = np.mean(null <= observed * (1 + 1e-12))
    tops = [peak_step(steps[index], curves[index]) for index in known]
    when = [transitions[index] for index in known]
    return ShiftTest(observed, float(null.mean()), float(p), _mismatched(tops, when))


def _all_sums(parts: Sequence[np.ndarray], rng: np.random.Generator, draws: int) -> np.ndarray:
    if math.prod(len(one) for one in parts) > MOST_SHIFTS:
        return sum((rng.choice(one, size=draws) for one in parts), start=np.zeros(draws))
    total = np.zeros(1)
    for one in parts:
        total = np.add.outer(total, one).ravel()
    return total


def _mismatched(peaks: Sequence[float], transitions: Sequence[float]) -> float:
    if not 2 <= len(peaks) <= 7:
        return float("nan")
    orders = itertools.permutations(transitions)
    found = np.array([np.abs(np.subtract(peaks, order)).mean() for order in orders])
    return float(np.mean(found <= found[0] * (1 + 1e-12)))


def combined_se(chain: np.ndarray, sequence: np.ndarray) -> np.ndarray:
    """Return both errors added in squares."""
    return np.hypot(chain, sequence)


def deviates(
    value: np.ndarray, chain: np.ndarray, sequence: np.ndarray, chains: int, sequences: int
) -> np.ndarray:
    """Return normal deviates of value over the combined error.

    The error of few chains is uncertain itself: value/error is taken as Student's t, with the
    degrees of freedom of Welch and Satterthwaite, (a + b)²/(a²/(C-1) + b²/(S-1)) for the squared
    errors a over C chains and b over S sequences. 0 where the error is 0, NaN where it is unknown.
    """
    a, b = np.square(chain), np.square(sequence)
    spread = np.square(a) / (chains - 1) + np.square(b) / (sequences - 1)
    freedom = np.square(a + b) / np.where(spread > 0, spread, np.nan)
    return _t_deviates(value, np.sqrt(a + b), freedom)


def _t_deviates(value: np.ndarray, se: np.ndarray, freedom: np.ndarray | int) -> np.ndarray:
    from scipy.special import ndtri, stdtr

    t = np.abs(value) / np.where(se > 0, se, np.nan)
    size = np.minimum(-ndtri(stdtr(freedom, -t)), LARGEST_Z)
    return np.where(se == 0, 0.0, np.copysign(size, value))


def sign_changes(
    z: Float64[np.ndarray, "checkpoint pair"],
) -> tuple[Bool[np.ndarray, " pair"], float]:
    """Return which pairs help at one checkpoint and hurt at another, both beyond chance.

    Beyond chance: |z| above what the largest of all pairs and checkpoints passes with probability
    0.05 by noise alone (Bonferroni), which is returned as well.
    """
    known = int(np.isfinite(z).sum())
    limit = familywise_z(max(known, 1), FAMILY_RATE)
    with np.errstate(invalid="ignore"):
        return (z > limit).any(axis=0) & (z < -limit).any(axis=0), limit


def reversals(
    value: Float64[np.ndarray, "checkpoint pair"],
    replicates: Float64[np.ndarray, "replicate checkpoint pair"],
    freedom: int,
) -> tuple[Float64[np.ndarray, " pair"], Float64[np.ndarray, " pair"], float]:
    """Return the most significant rise and fall of every curve, from any checkpoint to a later one.

    A curve with a rise and a fall beyond the limit is not monotone; with neither it may be flat.
    The error of a difference is the spread of the replicates' differences, which knows what two
    checkpoints have in common.

    Args:
        value: Curves.
        replicates: The same of resampled chains and sequences.
        freedom: Degrees of freedom of the errors: chains less one, the fewest they can have.

    Returns:
        Deviates of the largest rise and fall (both ≥ 0), and the limit (Bonferroni over pairs of
        classes and of checkpoints, at 0.05).
    """
    first, second = np.triu_indices(len(value), 1)
    moved = value[second] - value[first]
    ends = zip(first, second, strict=True)
    spread = [(replicates[:, b] - replicates[:, a]).std(axis=0, ddof=1) for a, b in ends]
    z = _t_deviates(moved, np.stack(spread), freedom)
    known = np.isfinite(moved)
    z = np.where(known, z, 0.0)
    limit = familywise_z(max(int(known.sum()), 1), FAMILY_RATE)
    return np.maximum(z.max(axis=0), 0.0), np.maximum(-z.min(axis=0), 0.0), limit


def summed(
    step: Float64[np.ndarray, " checkpoint"],
    curves: Float64[np.ndarray, "... checkpoint pair"],
    rate: float,
) -> Sum:
    """Sum curves over training as TracIn does, each checkpoint for the steps up to the next.

    Σ_t η (step_{t+1} - step_t) x_t; the last checkpoint, which none follows, has no weight.

    Args:
        step: Steps of the checkpoints.
        curves: Helpfulness, or gradient products.
        rate: Learning rate η.
    """
    weight = rate * np.diff(step)
    weighted = curves[..., :-1, :] * weight[:, None]
    total, size = weighted.sum(axis=-2), np.abs(weighted).sum(axis=-2)
    return Sum(total, size, 1 - np.abs(total) / np.where(size > 0, size, np.nan))


def noise_cancellation(
    step: Float64[np.ndarray, " checkpoint"],
    curves: Float64[np.ndarray, "checkpoint pair"],
    replicates: Float64[np.ndarray, "replicate checkpoint pair"],
) -> Float64[np.ndarray, " pair"]:
    """Return the share that would seem to cancel if no curve changed its sign.

    What is less than two errors from zero is taken for zero, the rest is given the sign of the sum,
    and the replicates' deviations from the curve are added as noise. The mean over replicates.
    """
    sign = np.sign(summed(step, curves, 1.0).total)
    seen = np.abs(curves) > 2 * replicates.std(axis=0, ddof=1)
    folded = np.where(seen, np.abs(curves) * sign, 0.0) + (replicates - curves)
    return summed(step, folded, 1.0).cancelled.mean(axis=0)


class Phases(NamedTuple):
    """Helpfulness before, at and after the transition, mean over checkpoints and seeds.

    Attributes:
        value: (phase, pair).
        replicates: (replicate, phase, pair); sequences are resampled alike in all seeds, which
            record the same ones, chains independently.
        freedom: Degrees of freedom of the errors: chains less one, over all seeds.
    """

    value: np.ndarray
    replicates: np.ndarray
    freedom: int

    def z(self) -> np.ndarray:
        """Return the deviates (phase, pair)."""
        return _t_deviates(self.value, self.replicates.std(axis=0, ddof=1), self.freedom)


def phase_masks(step: np.ndarray, transition: float, width: float) -> Bool[np.ndarray, "3 step"]:
    """Return which checkpoints lie before, at and after a transition.

    At: within two widths of the logistic curve, where it rises from 0.12 to 0.88 of its height. A
    phase without a checkpoint gets the nearest one: the first, that next to the step, the last.
    """
    at = np.abs(step - transition) <= 2 * width
    masks = np.stack([~at & (step < transition), at, ~at & (step > transition)])
    nearest = (0, int(np.argmin(np.abs(step - transition))), len(step) - 1)
    for mask, place in zip(masks, nearest, strict=True):
        if not mask.any():
            mask[place] = True
    return masks


def phases(
    curves: Sequence[Float64[np.ndarray, "checkpoint pair"]],
    replicates: Sequence[Float64[np.ndarray, "replicate checkpoint pair"]],
    masks: Sequence[np.ndarray],
    chains: Sequence[int],
) -> Phases:
    """Average curves over phases and over seeds: more power than single checkpoints have.

    Different trainings share no random numbers, so that their chains are independent.
    """
    means = [
        np.stack([one[mask].mean(axis=0) for mask in of])
        for one, of in zip(curves, masks, strict=True)
    ]
    drawn = [
        np.stack([one[:, mask].mean(axis=1) for mask in of], axis=1)
        for one, of in zip(replicates, masks, strict=True)
    ]
    freedom = sum(chains) - len(chains)
    return Phases(np.mean(means, axis=0), np.mean(drawn, axis=0), freedom)
