"""When a stage of training happens, from its own measurements and with an error.

Two kinds of change are dated: the rise of an accuracy, by a logistic curve, and the fall of a
divergence, by the step at which half of it is done. Errors are those of a bootstrap over held-out
sequences, passed in as replicates of the whole curve.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

Curve = Float64[np.ndarray, " step"]
Curves = Float64[np.ndarray, "replicate step"]

#: Share of the whole rise that a step of a staircase must have, to count as a stage.
LEAST_SHARE = 0.25
#: Rise of an accuracy below which nothing was learned.
LEAST_RISE = 0.1
#: Fewest measurements for a fit of one logistic curve, and for one of two.
FEWEST = (5, 9)
#: Widths that are tried, in units of the measured range.
_WIDTHS = np.geomspace(0.005, 0.3, 10)
_PLACES = 40


class Change(NamedTuple):
    """A dated change, in optimiser steps.

    Attributes:
        step: When half of it is done; NaN where nothing changed.
        se: Standard error of the step over replicates.
        width: Time over which it happens: τ of the logistic curve, or half the time between a
            quarter and three quarters.
        low: Lower end of the interval that holds 95% of the replicates.
        high: Its upper end.
        before: Level before the change.
        after: Level after it.
    """

    step: float
    se: float
    width: float
    low: float
    high: float
    before: float
    after: float


NONE = Change(*[float("nan")] * 7)


class Rise(NamedTuple):
    """A staircase of logistic curves, a + Σ_k h_k σ((t - t_k)/τ_k), with t_k in order."""

    level: float
    height: Float64[np.ndarray, " rise"]
    step: Float64[np.ndarray, " rise"]
    width: Float64[np.ndarray, " rise"]

    def last(self) -> int:
        """Index of the last rise with at least a quarter of the whole."""
        return int(np.flatnonzero(self.height >= LEAST_SHARE * self.height.sum()).max(initial=0))


def rise(step: Curve, curve: Curve, replicates: Curves) -> Change:
    """Date the last rise of a curve.

    One logistic curve a + (b - a) σ((t - t₀)/τ) is fitted by least squares, and the sum of two;
    the better by the Bayesian information criterion is taken. An accuracy may rise twice: what
    statistics of the last token say is learned first, what the context says after that. The change
    is the last rise that has a quarter of the whole.

    Args:
        step: Steps of the measurements, in order.
        curve: The measurements.
        replicates: The same of resampled sequences; each is fitted from the curve's own fit.

    Returns:
        The change; `NONE` where there are too few measurements, the curve rises by less than 0.1,
        or the middle of the rise lies before the second measurement or after the last but one: then
        one of the levels that it leads between was never seen.
    """
    if step.size < FEWEST[0] or np.ptp(curve) < LEAST_RISE or not np.isfinite(curve).all():
        return NONE
    fit = fit_rise(step, curve)
    which = fit.last()
    if not step[1] <= fit.step[which] <= step[-2]:
        return NONE
    refits = [_refined(step, one, fit) for one in replicates if np.isfinite(one).all()]
    drawn = np.array([one.step[min(which, len(one.step) - 1)] for one in refits])
    before = fit.level + float(fit.height[:which].sum())
    return _change(
        float(fit.step[which]),
        float(fit.width[which]),
        drawn,
        before,
        before + float(fit.height[which]),
    )


def fit_rise(step: Curve, curve: Curve) -> Rise:
    """Fit one logistic curve or the sum of two, whichever the information criterion prefers."""
    single = _refined(step, curve, _searched(step, curve, None))
    if step.size < FEWEST[1]:
        return single
    starts = (_searched(step, curve - _value(step, single), single), _staircase(step, curve))
    both = [_refined(step, curve, start) for start in starts]
    double = min(both, key=lambda fit: _criterion(step, curve, fit))
    better = _criterion(step, curve, double) < _criterion(step, curve, single)
    return double if better else single


def half_fall(step: Curve, curve: Curve, replicates: Curves) -> Change:
    """Date the fall of a curve from its first value to its minimum, by the step at its half.

    Between measurements the curve is taken as linear in log(1 + step): divergences from simple
    statistics fall fast and early, over a fixed factor in time rather than a fixed time.

    Args:
        step: Steps of the measurements, in order.
        curve: The measurements.
        replicates: The same of resampled sequences.

    Returns:
        The change; `NONE` where the curve is unknown or never falls.
    """
    if step.size < 2 or not np.isfinite(curve).all() or not curve.min() < curve[0]:
        return NONE
    quarter, half, most = (_fallen(step, curve, share) for share in (0.25, 0.5, 0.75))
    known = [one for one in replicates if np.isfinite(one).all() and one.min() < one[0]]
    drawn = np.array([_fallen(step, one, 0.5) for one in known])
    return _change(half, (most - quarter) / 2, drawn, float(curve[0]), float(curve.min()))


def _fallen(step: Curve, curve: Curve, share: float) -> float:
    target = curve[0] - share * (curve[0] - curve.min())
    place = int(np.flatnonzero(curve <= target)[0])
    time = np.log1p(step)
    fraction = (curve[place - 1] - target) / (curve[place - 1] - curve[place])
    return float(np.expm1(time[place - 1] + fraction * (time[place] - time[place - 1])))


def _change(step: float, width: float, drawn: np.ndarray, before: float, after: float) -> Change:
    if drawn.size < 2:
        return Change(step, float("nan"), width, float("nan"), float("nan"), before, after)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Change(step, float(drawn.std(ddof=1)), width, float(low), float(high), before, after)


def _value(step: Curve, fit: Rise) -> Curve:
    from scipy.special import expit

    waves = expit((step[:, None] - fit.step) / fit.width)
    return fit.level + waves @ fit.height


def _searched(step: Curve, curve: Curve, known: Rise | None) -> Rise:
    """Return the best logistic curve on a grid of places and widths; the rest is linear."""
    from scipy.special import expit

    spread = float(np.ptp(step))
    places = np.linspace(step[0], step[-1], _PLACES)
    place, width = (one.ravel() for one in np.meshgrid(places, spread * _WIDTHS, indexing="ij"))
    waves = expit((step - place[:, None]) / width[:, None])
    centred = waves - waves.mean(axis=1, keepdims=True)
    power = np.square(centred).sum(axis=1)
    height = np.clip(centred @ (curve - curve.mean()) / np.maximum(power, 1e-12), 0.0, None)
    rest = curve - curve.mean() - height[:, None] * centred
    best = int(np.argmin(np.square(rest).sum(axis=1)))
    level = float(curve.mean() - height[best] * waves[best].mean())
    found = (height[best : best + 1], place[best : best + 1], width[best : best + 1])
    if known is None:
        return Rise(level, *found)
    height, place, width = (np.concatenate(pair) for pair in zip(known[1:], found, strict=True))
    return _ordered(known.level + level, height, place, width)


def _staircase(step: Curve, curve: Curve) -> Rise:
    """Return two equal rises where the curve is a quarter and three quarters of its way up."""
    low, spread = float(curve.min()), float(np.ptp(curve))
    place = [step[int(np.argmax(curve >= low + share * spread))] for share in (0.25, 0.75)]
    width = np.full(2, 0.03 * float(np.ptp(step)))
    return Rise(low, np.full(2, spread / 2), np.array(place, np.float64), width)


def _refined(step: Curve, curve: Curve, start: Rise) -> Rise:
    """Return the least-squares fit next to ``start``; heights are not negative."""
    from scipy.optimize import least_squares
    from scipy.special import expit

    spread, count = float(np.ptp(step)), len(start.step)
    low = np.r_[-np.inf, np.zeros(count), np.full(count, step[0]), np.full(count, math.log(1e-3))]
    high = np.r_[np.inf, np.full(2 * count, np.inf), np.full(count, 0.0)]
    high[1 + count : 1 + 2 * count] = step[-1]
    scaled = np.log(start.width / spread)
    begin = np.r_[start.level, start.height, start.step, scaled]

    def read(values: np.ndarray) -> Rise:
        height, place, width = np.split(values[1:], 3)
        return Rise(float(values[0]), height, place, spread * np.exp(width))

    def slopes(values: np.ndarray) -> np.ndarray:
        fit = read(values)
        along = (step[:, None] - fit.step) / fit.width
        wave = expit(along)
        steep = -fit.height * wave * (1 - wave)
        level = np.ones((step.size, 1))
        return np.concatenate([level, wave, steep / fit.width, steep * along], axis=1)

    found = least_squares(
        lambda values: _value(step, read(values)) - curve,
        np.clip(begin, low + 1e-9, high - 1e-9),
        jac=slopes,
        bounds=(low, high),
        x_scale=np.r_[1.0, np.ones(count), np.full(count, spread / 10), np.ones(count)],
        max_nfev=200,
    )
    fit = read(found.x)
    return _ordered(fit.level, fit.height, fit.step, fit.width)


def _ordered(level: float, height: np.ndarray, place: np.ndarray, width: np.ndarray) -> Rise:
    order = np.argsort(place, kind="stable")
    return Rise(level, height[order], place[order], width[order])


def _criterion(step: Curve, curve: Curve, fit: Rise) -> float:
    squares = float(np.square(_value(step, fit) - curve).sum())
    free = 1 + 3 * len(fit.step)
    return step.size * math.log(max(squares, 1e-12) / step.size) + free * math.log(step.size)
