"""Covariance and correlation of losses over chains and draws, each with a standard error.

All sums are taken in float64 over one chain at a time, so that a float32 trace is never copied
whole, and about centred values, so that a small fluctuation about a large loss loses no digits.

How losses are centred decides what is kept (run length against relaxation time):

- *across chains at each draw*, divisor C - 1: unbiased at any length, common drift cancels;
- *within a chain*, divisor T - 1: E[S] = T/(T-1) (Σ - Var(chain mean)), slow modes are lost.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from stagewise.errors import ConfigError

Centring = Literal["auto", "across", "within"]

ACROSS_FROM = 8
"""Fewest chains for which "auto" centres across chains: fewer make the error too uncertain."""

Draws = Float[np.ndarray, "*lead chain draw n"]
OtherDraws = Float[np.ndarray, "*lead chain draw m"]


class Estimate(NamedTuple):
    """A value and its standard error, of the same shape."""

    value: Float64[np.ndarray, "*shape"]
    se: Float64[np.ndarray, "*shape"]


def resolve_centring(
    centring: Centring, chains: int, left: int | None = None
) -> Literal["across", "within"]:
    """Choose the centring of a trace: across chains when it has at least 8 of them.

    Args:
        centring: "auto", or the choice of the caller.
        chains: Chains that were run. The choice goes by these, so that a checkpoint where some
            diverged is centred like its neighbours.
        left: Chains that are left, all by default; the across form needs three.

    Raises:
        ConfigError: No such centring.
    """
    if centring not in ("auto", "across", "within"):
        raise ConfigError(f"centring is {centring!r}; allowed are 'auto', 'across', 'within'")
    if centring != "auto":
        return centring
    enough = chains >= ACROSS_FROM and (chains if left is None else left) >= 3
    return "across" if enough else "within"


class CentredChains:
    """The chains of a set of losses, centred, one at a time and in float64."""

    def __init__(self, losses: Draws, centring: Literal["across", "within"]) -> None:
        """Prepare the centring of ``losses`` (…, chain, draw, n).

        Raises:
            ConfigError: Too few chains or draws for this centring, or no chain dimension.
        """
        if losses.ndim < 3:
            raise ConfigError(f"losses have {losses.ndim} dimensions; need (…, chain, draw, n)")
        self.losses = losses
        self.chains, self.draws = losses.shape[-3], losses.shape[-2]
        self._mean: np.ndarray | None = None
        if centring == "across":
            if self.chains < 3:
                raise ConfigError(
                    f"centring across chains needs at least 3 chains, got {self.chains}; "
                    "use centring='within' or run more chains"
                )
            self._mean = losses.mean(axis=-3, dtype=np.float64)
        elif self.draws < 2:
            raise ConfigError(
                f"centring within a chain needs at least 2 draws, got {self.draws}; draw more"
            )

    def block(self, chain: int) -> Float64[np.ndarray, "*lead draw n"]:
        """Return one centred chain."""
        block = self.losses[..., chain, :, :].astype(np.float64)
        return block - (block.mean(axis=-2, keepdims=True) if self._mean is None else self._mean)


class Products:
    """Sums of centred products over independent-ish blocks: the chains, or batches of one chain.

    With P_k the sum over block k and S = Σ_k P_k, the covariance is ``scale`` S, and without block
    k it is proportional to S - ``share`` P_k: across chains the mean moves too, which gives
    share = C/(C-1); otherwise share = 1. So the jackknife costs no second estimate.
    """

    def __init__(self, x: Draws, y: OtherDraws | None, centring: Centring) -> None:
        """Lay out the blocks of x (…, chain, draw, n) and y (…, chain, draw, m); None is x."""
        chains, draws = x.shape[-3:-1]
        if y is not None and y.shape[:-1] != x.shape[:-1]:
            raise ConfigError(
                f"losses {x.shape} and {y.shape} are not of the same chains and draws; "
                "pass arrays of one trace"
            )
        chosen = resolve_centring(centring, chains)
        self.x = CentredChains(x, chosen)
        self.y = None if y is None else CentredChains(y, chosen)
        self.count = chains if chains > 1 else _batch_count(draws)
        if chosen == "across":
            self.scale = 1.0 / (draws * (chains - 1))
            self.share, self.inflate = chains / (chains - 1), (chains - 1) / (chains - 2)
        else:
            self.scale, self.share, self.inflate = 1.0 / (chains * (draws - 1)), 1.0, 1.0

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x_k, y_k), each (…, draw, n), of every block."""
        for chain in range(self.x.chains):
            x = self.x.block(chain)
            y = x if self.y is None else self.y.block(chain)
            if self.x.chains > 1:
                yield x, y
                continue
            parts = np.array_split(np.arange(self.x.draws), self.count)
            yield from ((x[..., part, :], y[..., part, :]) for part in parts)

    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Σ_t x² and Σ_t y² of every block, (block, …, n) and (block, …, m)."""
        sums = [(np.square(x).sum(axis=-2), np.square(y).sum(axis=-2)) for x, y in self.pairs()]
        return np.stack([x for x, _ in sums]), np.stack([y for _, y in sums])

    def each(self) -> Iterator[np.ndarray]:
        """Yield P_k = Σ_t x_k(t) y_k(t)ᵀ, (…, n, m), of every block."""
        for x, y in self.pairs():
            yield np.swapaxes(x, -1, -2) @ y


class Moments:
    """Running sum and sum of squared deviations of arrays (Welford's update)."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.count = 0
        self.mean: np.ndarray | float = 0.0
        self.squared: np.ndarray | float = 0.0

    def add(self, array: np.ndarray) -> None:
        """Take one more array."""
        self.count += 1
        delta = array - self.mean
        self.mean = self.mean + delta / self.count
        self.squared = self.squared + delta * (array - self.mean)

    @property
    def se(self) -> np.ndarray:
        """Standard error of the mean over the arrays."""
        return np.sqrt(self.squared / (self.count * (self.count - 1)))


def _batch_count(draws: int) -> int:
    """Return the number of batches of one chain: √T, the usual rate for batch means."""
    if draws < 4:
        raise ConfigError(f"one chain of {draws} draws gives no error; need 4 draws or 2 chains")
    return math.isqrt(draws)


def covariance(x: Draws, y: OtherDraws | None = None, centring: Centring = "auto") -> Estimate:
    """Estimate Cov(x_i, y_j) over chains and draws, with its standard error.

    Across chains: mean over draws of Σ_c (x_c - x̄)(y_c - ȳ)ᵀ/(C - 1), and the error by leaving out
    one chain at a time: se² = C/((C-1)(C-2)²T²) Σ_k (P_k - P̄)². Within chains: mean over chains of
    Σ_t (x - x̄_c)(y - ȳ_c)ᵀ/(T - 1), and the error over chains, or over √T batches of the one chain.

    Args:
        x: Losses (…, chain, draw, n), any floating type; nats.
        y: Losses (…, chain, draw, m); ``x`` by default, and then the result is symmetric.
        centring: "across", "within", or "auto": across from 8 chains on.

    Returns:
        Value and standard error (…, n, m), nats².

    Raises:
        ConfigError: Too few chains or draws, or arrays of different runs.
    """
    products = Products(x, y, centring)
    moments = Moments()
    for block in products.each():
        moments.add(block)
    count = products.count
    total = np.asarray(moments.mean) * (count * products.scale)
    se = moments.se * (count * products.scale * products.inflate)
    if y is None:
        total = (total + np.swapaxes(total, -1, -2)) / 2  # equal but for rounding
    return Estimate(total, se)


def correlation(
    x: Draws, y: OtherDraws | None = None, centring: Centring = "auto"
) -> tuple[Estimate, Int[np.ndarray, "*lead"]]:
    """Estimate the correlation of x_i and y_j, with its standard error by the jackknife.

    r = Σ_ij/√(Σ_ii Σ_jj), se² = (K-1)/K Σ_k (r_(-k) - r̄)² over the K chains (or batches). It is 0,
    with error 0, where a variance is 0.

    Args:
        x: Losses (…, chain, draw, n).
        y: Losses (…, chain, draw, m); ``x`` by default.
        centring: As for ``covariance``.

    Returns:
        The estimate (…, n, m) in [-1, 1], and the number of losses with zero variance (…).

    Raises:
        ConfigError: Too few chains or draws, or arrays of different runs.
    """
    products = Products(x, y, centring)
    squares_x, squares_y = products.squares()
    total_x, total_y = squares_x.sum(axis=0), squares_y.sum(axis=0)
    flat_x, flat_y = _flat(x, total_x), _flat(x if y is None else y, total_y)
    dead = flat_x[..., :, None] | flat_y[..., None, :]
    total = sum(products.each(), start=np.zeros(1))
    jackknife = Moments()
    for index, block in enumerate(products.each()):
        rest_x = total_x - products.share * squares_x[index]
        rest_y = total_y - products.share * squares_y[index]
        jackknife.add(ratio(total - products.share * block, rest_x, rest_y, dead))
    se = jackknife.se * (products.count - 1)
    zero = flat_x.sum(axis=-1) + (0 if y is None else flat_y.sum(axis=-1))
    return Estimate(ratio(total, total_x, total_y, dead), se), np.asarray(zero)


def _flat(losses: Draws, squares: np.ndarray) -> np.ndarray:
    """Say which losses do not vary beyond the rounding of their own size."""
    size = np.abs(losses).max(axis=(-3, -2)).astype(np.float64)
    count = losses.shape[-3] * losses.shape[-2]
    return squares <= count * np.square(8 * np.finfo(np.float64).eps * size)


def ratio(
    cross: np.ndarray, left: np.ndarray, right: np.ndarray, dead: np.ndarray
) -> Float64[np.ndarray, "*lead n m"]:
    """Return cross/√(left right), within [-1, 1]; 0 where ``dead`` or a variance is 0."""
    scale = np.sqrt(np.maximum(left, 0))[..., :, None] * np.sqrt(np.maximum(right, 0))[..., None, :]
    empty = dead | (scale == 0)  # a leave-one-out sum may vanish where the whole does not
    return np.where(empty, 0.0, np.clip(cross / np.where(empty, 1.0, scale), -1.0, 1.0))


def retained_fraction(x: Draws) -> Float64[np.ndarray, "*lead n"]:
    """Estimate how much of each variance is left by centring within a chain.

    E[S] = T/(T-1) (Σ - V), V the variance of a chain's mean. V is the variance of the means of the
    chains, or for one chain that of batch means divided by their number. Then Σ = S(T-1)/T + V,
    and the fraction is S/Σ. It is 1 for independent draws, and for a loss that does not vary.

    Args:
        x: Losses (…, chain, draw, n).

    Returns:
        The fraction (…, n).

    Raises:
        ConfigError: Too few draws.
    """
    chains, draws = x.shape[-3:-1]
    within = _mean_variance(x)
    means = x.mean(axis=-2, dtype=np.float64)
    if chains == 1:
        parts = np.array_split(x[..., 0, :, :], _batch_count(draws), axis=-2)
        means = np.stack([part.mean(axis=-2, dtype=np.float64) for part in parts], axis=-2)
    of_mean = means.var(axis=-2, ddof=1) / (len(parts) if chains == 1 else 1)
    whole = within * (draws - 1) / draws + of_mean
    return np.where(whole > 0, within / np.where(whole > 0, whole, 1.0), 1.0)


def _mean_variance(x: Draws) -> np.ndarray:
    """Return the variance within a chain (divisor T - 1), mean over chains."""
    chains = CentredChains(x, "within")
    squares = [np.square(chains.block(chain)).sum(axis=-2) for chain in range(chains.chains)]
    return np.mean(squares, axis=0) / (chains.draws - 1)
