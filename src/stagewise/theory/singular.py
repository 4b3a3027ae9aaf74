"""Singular losses: expectations at a finite inverse temperature and localization, by quadrature.

The law is exp(-U), U(w) = nbeta L(w) + (gamma / 2)|w|^2, about the singular point w* = 0. The local
learning coefficient at finite (nbeta, gamma) is nbeta E[L]: it rises from 0 at nbeta = 0 towards
the real log canonical threshold (RLCT) as nbeta grows, slowly (like 1 / log nbeta where the
threshold has a multiplicity), so that a finite run must be held against the finite value.

    normal crossing   L(w) = prod_i w_i^(2 k_i)
    reduced rank      L(W2, W1) = 1/2 sum_k v_k |W2 W1 e_k|^2, W2 (output, hidden),
                      W1 (hidden, input)

Sources: Watanabe 2009, Algebraic Geometry and Statistical Learning Theory (normal crossings);
Aoyagi & Watanabe 2005, Neural Networks 18 (reduced-rank regression).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_nonnegative, check_positive

__all__ = [
    "LearningCoefficient",
    "Moments",
    "Reference",
    "box_moments",
    "normal_crossing_llc",
    "normal_crossing_rlct",
    "reduced_rank_llc",
    "reduced_rank_output",
    "reduced_rank_rlct",
]

Array = np.ndarray

#: The prior's density at the edge of the box is e^(-EDGE^2 / 2) of its maximum.
EDGE = 8.0


class Moments(NamedTuple):
    """Mean and covariance of some functions of w under a law."""

    mean: Float[Array, " feature"]
    covariance: Float[Array, "feature feature"]


class Reference(NamedTuple):
    """A number by quadrature and its error: the change when the grid is coarsened."""

    value: float
    error: float


class LearningCoefficient(NamedTuple):
    """RLCT and its multiplicity: the limit nbeta -> infinity, not the value at a finite one."""

    threshold: float
    multiplicity: int


def box_moments(
    potential: Callable[[Float[Array, "node parameter"]], Float[Array, " node"]],
    features: Callable[[Float[Array, "node parameter"]], Float[Array, "node feature"]],
    centre: Sequence[float],
    reach: Sequence[float],
    nodes: int,
) -> Moments:
    """Mean and covariance under exp(-U) by the trapezoidal rule on a box.

    The rule converges faster than any power of the spacing for analytic integrands that vanish at
    the edge. Meant for up to three parameters: the box has nodes^P points.

    Args:
        potential: U at many positions, in nats.
        features: The functions whose moments are wanted.
        centre: Centre of the box, one entry per parameter.
        reach: Half its width, one entry per parameter, above 0.
        nodes: Points along each parameter, at least 3.

    Returns:
        Moments of the features.

    Raises:
        ValueError: If the box is malformed.
    """
    check_positive("reach", reach)
    if len(centre) != len(reach) or nodes < 3:
        raise ValueError(
            f"centre has {len(centre)} entries, reach {len(reach)}, nodes = {nodes}: give one of"
            " each per parameter, and at least 3 nodes"
        )
    axes = [np.linspace(c - r, c + r, nodes) for c, r in zip(centre, reach, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    values = potential(points)
    weight = np.exp(values.min() - values)
    weight /= weight.sum()
    found = features(points)
    mean = weight @ found
    centred = found - mean
    return Moments(mean, centred.T @ (weight[:, None] * centred))


def normal_crossing_llc(
    powers: Sequence[int], n_beta: float, localization: float, *, nodes: int = 401
) -> Reference:
    """Local learning coefficient nbeta E[prod_i w_i^(2 k_i)] at finite (nbeta, gamma), two weights.

    Args:
        powers: (k_1, k_2), at least 1 each.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        nodes: Points along each weight.

    Returns:
        The coefficient, no unit, and its error: the change when every other node is left out.

    Raises:
        ValueError: If an argument is out of range.
    """
    exponents = _checked_powers(powers)
    check_nonnegative("n_beta", n_beta)
    check_positive("localization", localization)
    reach = [EDGE / math.sqrt(localization)] * len(exponents)

    def loss(w: Array) -> Array:
        return np.prod(w ** (2 * exponents), axis=1)

    def potential(w: Array) -> Array:
        return n_beta * loss(w) + localization / 2 * np.square(w).sum(axis=1)

    fine, coarse = (
        n_beta * box_moments(potential, lambda w: loss(w)[:, None], [0.0, 0.0], reach, count).mean
        for count in (nodes, (nodes + 1) // 2)
    )
    return Reference(float(fine[0]), float(abs(fine[0] - coarse[0])))


def normal_crossing_rlct(powers: Sequence[int]) -> LearningCoefficient:
    """Asymptotic coefficient of prod_i w_i^(2 k_i): min_i 1 / (2 k_i), and how often it occurs.

    Args:
        powers: k_i, at least 1 each.

    Returns:
        Threshold and multiplicity.

    Raises:
        ValueError: If a power is not at least 1.
    """
    exponents = _checked_powers(powers)
    return LearningCoefficient(
        float(1 / (2 * exponents.max())), int((exponents == exponents.max()).sum())
    )


def reduced_rank_output(
    variances: Float[Array, " input"],
    outputs: int,
    hidden: int,
    n_beta: float,
    localization: float,
    *,
    nodes: int = 200,
) -> Float[Array, " input"]:
    """Mean squared output E|W2 W1 e_k|^2 for each input direction, the true map being zero.

    Given W2 the columns of W1 are Gaussian with precision nbeta v_k W2^T W2 + gamma, which leaves
    the singular values s of W2. Their density is

        prod_h s_h^(M - H) e^(-gamma s_h^2 / 2) prod_{h < j} |s_h^2 - s_j^2|
            prod_{k, h} (nbeta v_k s_h^2 + gamma)^(-1/2),      M outputs, H hidden units,

    integrated by Gauss-Legendre in one dimension, or over the triangle s_1 < s_2 in two.

    Args:
        variances: v_k, mean square of input k, above 0.
        outputs: M, at least H.
        hidden: H, 1 or 2.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        nodes: Points along each singular value.

    Returns:
        One mean per input.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_positive("variances", variances)
    check_nonnegative("n_beta", n_beta)
    check_positive("localization", localization)
    if hidden not in (1, 2) or outputs < hidden:
        raise ValueError(
            f"hidden = {hidden}, outputs = {outputs}: hidden must be 1 or 2, outputs at least that"
        )
    values, weights = _singular_values(hidden, EDGE / math.sqrt(localization), nodes)
    squares = np.square(values)
    precision = n_beta * variances[:, None, None] * squares + localization
    log_density = (
        np.log(weights)
        + (outputs - hidden) * np.log(values).sum(axis=-1)
        - localization / 2 * squares.sum(axis=-1)
        - 0.5 * np.log(precision).sum(axis=(0, 2))
    )
    if hidden == 2:
        log_density += np.log(squares[:, 1] - squares[:, 0])
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    return ((squares / precision).sum(axis=2) @ density).astype(np.float64)


def reduced_rank_llc(
    variances: Float[Array, " input"],
    outputs: int,
    hidden: int,
    n_beta: float,
    localization: float,
    *,
    nodes: int = 200,
) -> Reference:
    """Local learning coefficient of reduced-rank regression at the zero map, finite (nbeta, gamma).

    Args:
        variances: v_k, mean square of input k, above 0.
        outputs: M, at least H.
        hidden: H, 1 or 2.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        nodes: Points along each singular value.

    Returns:
        The coefficient, no unit, and its error: the change with half as many nodes.

    Raises:
        ValueError: If an argument is out of range.
    """
    fine, coarse = (
        n_beta
        / 2
        * float(
            variances
            @ reduced_rank_output(variances, outputs, hidden, n_beta, localization, nodes=count)
        )
        for count in (nodes, nodes // 2)
    )
    return Reference(fine, abs(fine - coarse))


def reduced_rank_rlct(inputs: int, outputs: int, hidden: int, rank: int = 0) -> LearningCoefficient:
    """Asymptotic coefficient of reduced-rank regression (Aoyagi & Watanabe 2005).

    Args:
        inputs: N, at least 1.
        outputs: M, at least 1.
        hidden: H, at least the rank.
        rank: Rank of the true map, at least 0.

    Returns:
        Threshold and multiplicity.

    Raises:
        ValueError: If the sizes don't fit.
    """
    m, n, h, r = outputs, inputs, hidden, rank
    if min(m, n) < 1 or not 0 <= r <= min(h, m, n):
        raise ValueError(
            f"inputs = {n}, outputs = {m}, hidden = {h}, rank = {r}: sizes must be positive and"
            " the rank at most each of them"
        )
    if n + h < m + r:
        return LearningCoefficient((h * n - h * r + m * r) / 2, 1)
    if m + h < n + r:
        return LearningCoefficient((h * m - h * r + n * r) / 2, 1)
    if m + n < h + r:
        return LearningCoefficient(m * n / 2, 1)
    shared = -((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n
    if (m + h + n + r) % 2 == 0:
        return LearningCoefficient(shared / 8, 1)
    return LearningCoefficient((shared + 1) / 8, 2)


def _checked_powers(powers: Sequence[int]) -> Array:
    exponents = np.asarray(powers, dtype=np.int64)
    if exponents.size == 0 or (exponents < 1).any():
        raise ValueError(f"powers = {tuple(powers)}: give at least one, each at least 1")
    return exponents


def _singular_values(hidden: int, reach: float, nodes: int) -> tuple[Array, Array]:
    """Nodes (node, hidden), rising in s, and weights over 0 < s_1 (< s_2) < reach."""
    unit, weight = np.polynomial.legendre.leggauss(nodes)
    unit, weight = (unit + 1) / 2, weight / 2
    if hidden == 1:
        return reach * unit[:, None], reach * weight
    largest, share = np.meshgrid(reach * unit, unit, indexing="ij")
    values = np.stack([largest * share, largest], axis=-1).reshape(-1, 2)
    return values, (reach * np.outer(weight, weight) * largest).ravel()
