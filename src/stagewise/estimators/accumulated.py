"""The estimates of ``stagewise.estimators.covariance``, from sums instead of draws.

On the same draws they are equal to the estimates from the trace but for rounding: with S, f, R_g
and f_g of ``stagewise.estimators.accumulator``, the value is S/f and the jackknife's replicates are
(S - R_g)/(f - f_g).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from stagewise.errors import ConfigError, DivergenceError
from stagewise.estimators.covariance import Centring, Estimate, Moments, ratio
from stagewise.storage.schema import CHECKPOINT
from stagewise.storage.trace import valid_chains


def covariance(sums: xr.Dataset) -> Estimate:
    """Estimate Cov(l_query, l_sample), ([checkpoint,] query, sample), nats².

    Raises:
        DivergenceError: Too few chains are left.
    """
    return _over_checkpoints(sums, _covariance)


def correlation(sums: xr.Dataset) -> tuple[Estimate, np.ndarray]:
    """Estimate the correlation, ([checkpoint,] query, sample), and count losses without variance.

    Raises:
        DivergenceError: Too few chains are left.
    """
    value, se, zero = _over_checkpoints(sums, _correlation)
    return Estimate(value, se), zero


def mean_loss(sums: xr.Dataset) -> Estimate:
    """Return the mean excess loss over chains, draws and samples, with its error over chains."""
    found = []
    for one in _checkpoints(sums):
        units = one["sample_mean"].values[valid_chains(one)].mean(axis=1)
        if len(units) < 2:
            raise DivergenceError(_too_few(sums))
        found.append((units.mean(), units.std(ddof=1) / np.sqrt(len(units))))
    return Estimate(*_joined(sums, found))


def report(sums: xr.Dataset, centring: Centring) -> dict[str, Any]:
    """Say how the losses were centred; within chains, how much of their variance that keeps.

    Raises:
        ConfigError: The caller asks for another centring than the sums were made with.
    """
    made = str(sums.attrs["centring"])
    if centring not in ("auto", made):
        raise ConfigError(
            f"centring is {centring!r}, but these sums were centred {made!r} while they were "
            "taken; leave it at 'auto', or record a trace"
        )
    said = {"centring": made, "n_draws": int(sums["draws"].values.min())}
    if made == "across":
        return said | {"centring_blocks": int(sums.attrs["centring_blocks"])}
    fraction = np.stack([_retained(one) for one in _checkpoints(sums)])
    return said | {
        "retained_fraction_min": float(fraction.min()),
        "retained_fraction_median": float(np.median(fraction)),
    }


def is_own(sums: xr.Dataset) -> bool:
    """Say whether the samples are their own queries."""
    return "query_square" not in sums


def _covariance(one: xr.Dataset) -> tuple[np.ndarray, ...]:
    total, freedom = one["product"].values, float(one["freedom"])
    jackknife = Moments()
    for group, rest in _replicates(one):
        jackknife.add((total - one["product_out"].values[group]) / rest)
    value = total / freedom
    if is_own(one):
        value = (value + value.T) / 2  # equal but for rounding
    return value, jackknife.se * (jackknife.count - 1)


def _correlation(one: xr.Dataset) -> tuple[np.ndarray, ...]:
    left, right = ("sample" if is_own(one) else "query"), "sample"
    flat = {side: _flat(one, side) for side in (left, right)}
    dead = flat[left][:, None] | flat[right][None, :]
    total, squares = one["product"].values, {s: one[f"{s}_square"].values for s in flat}
    jackknife = Moments()
    for group, _ in _replicates(one):
        rest = {s: squares[s] - one[f"{s}_square_out"].values[group] for s in flat}
        out = one["product_out"].values[group]
        jackknife.add(ratio(total - out, rest[left], rest[right], dead))
    value = ratio(total, squares[left], squares[right], dead)
    zero = flat[right].sum() + (0 if is_own(one) else flat[left].sum())
    return value, jackknife.se * (jackknife.count - 1), np.asarray(zero)


def _replicates(one: xr.Dataset) -> Iterator[tuple[int, float]]:
    """Yield each group that holds draws, and the freedom left without it."""
    rest = float(one["freedom"]) - one["freedom_out"].values
    groups = np.flatnonzero(one["freedom_out"].values)
    if len(groups) < 2 or (rest[groups] <= 0).any():
        raise DivergenceError(_too_few(one))
    yield from ((int(group), float(rest[group])) for group in groups)


def _flat(one: xr.Dataset, side: str) -> np.ndarray:
    """Say which losses do not vary beyond the rounding of their own size."""
    count = int(valid_chains(one).sum()) * int(one["draws"])
    size = one[f"{side}_size"].values
    rounding = count * np.square(8 * np.finfo(np.float64).eps * size)
    return one[f"{side}_square"].values <= rounding


def _retained(one: xr.Dataset) -> np.ndarray:
    """Estimate the share of each variance that centring within chains keeps."""
    draws, keep = int(one["draws"]), valid_chains(one)
    within = one["sample_square"].values / (keep.sum() * (draws - 1))
    whole = within * (draws - 1) / draws + one["sample_mean"].values[keep].var(axis=0, ddof=1)
    return np.where(whole > 0, within / np.where(whole > 0, whole, 1.0), 1.0)


def _over_checkpoints(sums: xr.Dataset, core: Any) -> Any:
    joined = _joined(sums, [core(one) for one in _checkpoints(sums)])
    return Estimate(*joined) if len(joined) == 2 else joined


def _checkpoints(sums: xr.Dataset) -> Iterator[xr.Dataset]:
    if CHECKPOINT not in sums.dims:
        yield sums
        return
    yield from (sums.isel({CHECKPOINT: index}) for index in range(sums.sizes[CHECKPOINT]))


def _joined(sums: xr.Dataset, parts: list[tuple[Any, ...]]) -> tuple[np.ndarray, ...]:
    if CHECKPOINT not in sums.dims:
        return tuple(np.asarray(one) for one in parts[0])
    return tuple(np.stack(arrays) for arrays in zip(*parts, strict=True))


def _too_few(sums: xr.Dataset) -> str:
    return (
        f"too few chains stayed finite to centre losses {sums.attrs['centring']} chains with an "
        f"error; lower step_size (ε = {sums.attrs.get('step_size')}) or raise localization (γ = "
        f"{sums.attrs.get('localization')}) and sample again, or run more chains"
    )
