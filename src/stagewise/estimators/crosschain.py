"""Statistics that pair one chain with another: zero in expectation unless chains share something.

Independent chains have no covariance between them. What is found between them is noise, whose
spread is that of the estimate itself (the null), or a mean that moves during the draws, or noise
that chains wrongly share (the drift).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from stagewise.errors import ConfigError
from stagewise.estimators.covariance import (
    CentredChains,
    Centring,
    Draws,
    Estimate,
    Moments,
    OtherDraws,
    resolve_centring,
)

LARGEST_Z = 37.0
"""Largest deviate reported: beyond it a normal tail probability underflows."""


def _need_three(chains: int, what: str) -> None:
    if chains < 3:
        raise ConfigError(f"the {what} needs at least 3 chains, got {chains}; run more chains")


def null_covariance(
    x: Draws, y: OtherDraws | None = None, centring: Centring = "auto", shift: int = 1
) -> Estimate:
    """Estimate a covariance known to be zero: loss i of chain c with loss j of chain π(c).

    π(c) = c + shift (mod C) has no fixed point, so the chains of a pair are independent. Centred
    within a chain, N = mean_c Σ_t x̃_c ỹ_π(c)ᵀ/(T - 1) has expectation exactly 0. Centred across
    chains, all products of one draw sum to zero, so that those of two chains expect -Σ/C each;
    with Σ̂ the unbiased covariance of the same draws, N + Σ̂/C has expectation exactly 0. The error
    is that of the mean of C terms, which are uncorrelated where π∘π has no fixed point either.

    Args:
        x: Losses (…, chain, draw, n).
        y: Losses (…, chain, draw, m); ``x`` by default.
        centring: That of the estimate whose null this is.
        shift: The derangement; neither 0 nor C/2 (mod C).

    Returns:
        Value and standard error (…, n, m); value/se is about Student's t of C - 1.

    Raises:
        ConfigError: Fewer than three chains, or a shift that is no such derangement.
    """
    chains, draws = x.shape[-3:-1]
    _need_three(chains, "null")
    if (2 * shift) % chains == 0:
        raise ConfigError(
            f"shift {shift} of {chains} chains pairs chains with themselves or each other; "
            "allowed are shifts other than multiples of half the chains: use 1"
        )
    chosen = resolve_centring(centring, chains)
    left = CentredChains(x, chosen)
    right = left if y is None else CentredChains(y, chosen)
    divisor = draws if chosen == "across" else draws - 1
    pairs, own = Moments(), 0.0
    for chain in range(chains):
        block = np.swapaxes(left.block(chain), -1, -2)
        pairs.add(block @ right.block((chain + shift) % chains) / divisor)
        if chosen == "across":
            own = own + block @ right.block(chain)
    correction = own / (draws * (chains - 1) * chains) if chosen == "across" else 0.0
    return Estimate(np.asarray(pairs.mean) + correction, pairs.se)


class Drift(NamedTuple):
    """Covariance of a moving mean, its error where nothing moves, and its relative size.

    ``relative`` is the variance of each loss's moving mean over its variance within a chain.
    """

    value: Float64[np.ndarray, "*lead n n"]
    se: Float64[np.ndarray, "*lead n n"]
    relative: Float64[np.ndarray, "*lead n"]


def drift_covariance(x: Draws) -> Drift:
    """Estimate the covariance over draws of the mean that all chains share, free of their noise.

    With W_cd = Σ_t x̃_c x̃_dᵀ/(T - 1), centred within chains, the covariance over draws of the
    across-chain mean is D = Σ_cd W_cd/C². Its noise is Σ_c W_cc/C², at any autocorrelation, so

        θ = C/(C-1) (D - mean_c(W_cc)/C) = Σ_{c≠d} W_cd/(C(C-1))

    estimates Cov_t(m_i, m_j) of the mean m(t) without bias, and 0 for stationary chains.

    The error is for the test of θ = 0. There θ is a degenerate U-statistic, whose jackknife
    variance is too large by exactly 2(C-1)/(C-2): with g_k = Σ_{d≠k} (W_kd + W_dk), corrected,
    se² = Σ_k (g_k - ḡ)²/(2C(C-1)²(C-2)). A drift of loss i makes θ_ii positive, never negative,
    and θ_ii/se exceeds the upper quantiles of Student's t with C - 1 degrees of freedom more
    rarely than t does (simulated: autocorrelation times from 0 to half the draws, 8 to 64
    chains).

    Args:
        x: Losses (…, chain, draw, n).

    Returns:
        θ and its error (…, n, n), nats²; θ_ii/W̄_ii (…, n).

    Raises:
        ConfigError: Fewer than three chains, or fewer than two draws.
    """
    chains, draws = x.shape[-3:-1]
    _need_three(chains, "drift")
    centred = CentredChains(x, "within")
    total = sum((centred.block(chain) for chain in range(chains)), start=np.zeros(1))
    links, own = Moments(), 0.0
    for chain in range(chains):
        block = centred.block(chain)
        cross = np.swapaxes(block, -1, -2) @ (total - block) / (draws - 1)
        links.add(cross + np.swapaxes(cross, -1, -2))
        own = own + np.square(block).sum(axis=-2) / ((draws - 1) * chains)
    value = np.asarray(links.mean) / (2 * (chains - 1))
    se = np.sqrt(links.squared / (2 * chains * (chains - 1) ** 2 * (chains - 2)))
    diagonal, own = np.diagonal(value, axis1=-2, axis2=-1), np.asarray(own)
    return Drift(value, se, _ratio(diagonal, own))


def _ratio(value: np.ndarray, se: np.ndarray) -> np.ndarray:
    return np.divide(value, se, out=np.zeros_like(value), where=se > 0)


def normal_deviates(
    value: Float64[np.ndarray, "*shape"], se: Float64[np.ndarray, "*shape"], freedom: int
) -> Float64[np.ndarray, "*shape"]:
    """Return the normal deviate with the tail probability of t = value/se.

    An error estimated from C chains makes t Student's with C - 1 degrees of freedom; its deviate
    can be compared with normal quantiles whatever C. It is 0 where the error is 0 (a loss that
    does not vary).
    """
    from scipy.special import ndtri, stdtr

    t = _ratio(value, se)
    tail = stdtr(freedom, -np.abs(t))
    return np.copysign(np.minimum(-ndtri(tail), LARGEST_Z), t)
