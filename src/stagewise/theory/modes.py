"""Learning of a two-layer linear network, mode by mode, in closed form.

The network is yhat = W2 W1 x with one-hot items (X = I_n), the loss is the mean over the n items of
1/2 |y_i - W2 W1 e_i|^2, and one step of gradient descent with learning rate lr is time 1, so the
gradient flow is

    tau dW1/dt = W2^T (Y - W2 W1),    tau dW2/dt = (Y - W2 W1) W1^T,    tau = n / lr  [steps].

Sources: Saxe, McClelland & Ganguli 2019 (arXiv:1810.10531) for the modes; Fukumizu 1998 for the
matrix solution.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from stagewise.theory.arguments import check_nonnegative, check_positive

__all__ = [
    "Modes",
    "aligned_balanced_init",
    "matrix_solution",
    "mode_slope",
    "mode_strength",
    "random_balanced_init",
    "svd_modes",
    "transition_step",
]

Array = np.ndarray

# Below this argument the closed form of phi' has lost digits and its series has not.
SERIES_LIMIT = 0.1
# phi'(x) = sum_k (-1)^k k x^(k-1) / (k+1)!, from k = 1.
SERIES = tuple(
    (-1.0) ** k * k / float(np.prod(np.arange(1, k + 2), dtype=np.float64)) for k in range(1, 12)
)


class Modes(NamedTuple):
    """Singular value decomposition Y = U[:, :rank] diag(s) Vt[:rank]."""

    left: Float[Array, "feature feature"]
    strengths: Float[Array, " rank"]
    right: Float[Array, "item item"]


def svd_modes(target: Float[Array, "feature item"], tolerance: float = 1e-10) -> Modes:
    """Return the input-output modes of the target map.

    Args:
        target: Y, one column per item.
        tolerance: Singular values at or below ``tolerance`` times the largest are zero and cut.

    Returns:
        U (feature, feature), s (rank,) in falling order, V^T (item, item). U and V are complete
        orthogonal bases: their trailing vectors span the null spaces.

    Raises:
        ValueError: If Y is not a finite, non-zero matrix.
    """
    if target.ndim != 2 or not np.isfinite(target).all() or not np.any(target):
        raise ValueError(
            f"target of shape {target.shape}: it must be a finite, non-zero (feature, item) matrix"
        )
    left, strengths, right = np.linalg.svd(target, full_matrices=True)
    return Modes(left, strengths[strengths > tolerance * strengths[0]], right)


def _decay_mean(x: Array) -> Array:
    """phi(x) = (1 - e^-x) / x, which is 1 at x = 0."""
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, -np.expm1(-safe) / safe)


def _decay_mean_slope(x: Array) -> Array:
    """phi'(x) = ((1 + x) e^-x - 1) / x^2, by its series near zero."""
    near = np.abs(x) < SERIES_LIMIT
    safe = np.where(near, 1.0, x)
    far = ((1 + safe) * np.exp(-safe) - 1) / safe**2
    series = np.polynomial.polynomial.polyval(np.where(near, x, 0.0), SERIES)
    return np.where(near, series, far)


def _mode_terms(step: ArrayLike, s: ArrayLike, a0: ArrayLike, tau: float) -> tuple[Array, ...]:
    """Broadcast and check; return (clock c = 2 step / tau, x = c s, a0, D) with a = a0 / D."""
    check_positive("tau", tau)
    for name, value in (("step", step), ("singular value", s), ("initial mode strength", a0)):
        check_nonnegative(name, value)
    clock, s, a0 = np.broadcast_arrays(
        2 * np.asarray(step, dtype=np.float64) / tau,
        np.asarray(s, dtype=np.float64),
        np.asarray(a0, dtype=np.float64),
    )
    x = np.asarray(clock * s)
    return clock, x, a0, np.asarray(np.exp(-x) + a0 * clock * _decay_mean(x))


def mode_strength(step: ArrayLike, s: ArrayLike, a0: ArrayLike, tau: float) -> Array:
    """Strength a_k(t) of a mode that starts aligned and balanced at a0.

    a(t) = s e^(2 s t / tau) / (e^(2 s t / tau) - 1 + s / a0), evaluated as
    a0 / (e^-x + a0 c phi(x)) with c = 2 t / tau, x = c s, phi(x) = (1 - e^-x) / x: no overflow at
    any time, and for s = 0 the limit a0 / (1 + 2 a0 t / tau).
    Source: Saxe et al. 2019, arXiv:1810.10531.

    Args:
        step: Optimiser steps t >= 0; broadcasts with ``s`` and ``a0``.
        s: Singular values, at least 0.
        a0: Strengths at step 0, at least 0.
        tau: n / learning rate, in steps.

    Returns:
        Array of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.
    """
    _, _, a0, denominator = _mode_terms(step, s, a0, tau)
    return np.divide(a0, denominator, out=np.zeros(a0.shape), where=a0 > 0)


def mode_slope(step: ArrayLike, s: ArrayLike, a0: ArrayLike, tau: float) -> Array:
    """Derivative d a_k(t) / d s_k at fixed a0 and t.

    With a = a0 / D (see ``mode_strength``): da/ds = a0 c (e^-x - a0 c phi'(x)) / D^2.

    Args:
        step: Optimiser steps t >= 0; broadcasts with ``s`` and ``a0``.
        s: Singular values, at least 0.
        a0: Strengths at step 0, at least 0.
        tau: n / learning rate, in steps.

    Returns:
        Array of the broadcast shape.

    Raises:
        ValueError: If an argument is out of range.
    """
    clock, x, a0, denominator = _mode_terms(step, s, a0, tau)
    numerator = a0 * clock * (np.exp(-x) - a0 * clock * _decay_mean_slope(x))
    return np.divide(numerator, denominator**2, out=np.zeros(a0.shape), where=a0 > 0)


def transition_step(s: ArrayLike, a0: ArrayLike, tau: float, fraction: float = 0.5) -> Array:
    """Step at which a mode reaches ``fraction`` of its final strength.

    a(t) = fraction s at t = tau / (2 s) log[(s / a0 - 1) fraction / (1 - fraction)].

    Args:
        s: Singular values, above 0.
        a0: Strengths at step 0, above 0 and at most ``fraction * s``.
        tau: n / learning rate, in steps.
        fraction: In (0, 1).

    Returns:
        Array of the broadcast shape, in steps.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_positive("tau", tau)
    check_positive("singular value", s)
    check_positive("initial mode strength", a0)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction = {fraction}: it must lie strictly between 0 and 1")
    s, a0 = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(a0, np.float64))
    late = a0 > fraction * s
    if late.any():
        raise ValueError(
            f"initial mode strength {a0[late].flat[0]:g} is already past {fraction} of singular"
            f" value {s[late].flat[0]:g}: start smaller, or ask for a larger fraction"
        )
    return np.asarray(tau / (2 * s) * np.log((s / a0 - 1) * fraction / (1 - fraction)))


def _check_balanced(w1: Array, w2: Array) -> None:
    inner, outer = w1 @ w1.T, w2.T @ w2
    gap, scale = np.abs(inner - outer).max(), np.abs(inner).max() + np.abs(outer).max()
    if gap > 1e-8 * scale:
        raise ValueError(
            f"W1 W1^T and W2^T W2 differ by {gap:.3g} (their size is {scale:.3g}): the matrix"
            " solution holds from a balanced start only; use random_balanced_init"
        )


def _riccati_step(state: Array, rates: Array, duration: float) -> Array:
    """One exact step of Z for dZZ^T/dt = RZZ^T + ZZ^T R - (ZZ^T)^2, R = diag(rates)."""
    exponent = 2 * rates * duration
    safe = np.where(exponent == 0, 1.0, exponent)
    integral = duration * np.where(exponent == 0, 1.0, np.expm1(safe) / safe)
    gram = np.eye(state.shape[1]) + state.T @ (integral[:, None] * state)
    grown = np.exp(rates * duration)[:, None] * state
    return solve_triangular(np.linalg.cholesky(gram), grown.T, lower=True).T


def _advance(state: Array, rates: Array, duration: float) -> Array:
    """Compose exact steps, each short enough for its Gram matrix to be well conditioned."""
    pieces = int(np.ceil(np.abs(rates).max() * duration))
    for _ in range(pieces):
        state = _riccati_step(state, rates, duration / pieces)
    return state


def matrix_solution(
    q0: Float[Array, "row hidden"],
    target: Float[Array, "feature item"],
    step: ArrayLike,
    tau: float,
) -> Float[Array, "*step row row"]:
    """Q Q^T at the given steps, exact for any balanced start, Q = [W1^T; W2].

    Balanced means W1 W1^T = W2^T W2. With F = [[0, Y^T], [Y, 0]] / tau,

        QQ^T(t) = e^(Ft) Q0 (I + (1/tau) Q0^T int_0^t e^(2Fs) ds Q0)^-1 Q0^T e^(Ft).

    Taken in one stride this mixes e^(2 s_1 t / tau) with 1 and loses every digit of the weaker
    modes. The flow is a semigroup, so it is evaluated in the eigenbasis of F by exact strides of
    at most one e-folding, Z <- e^(R dt) Z L^-T with L the Cholesky factor of I + Z^T Phi Z: no
    growing exponential exceeds e^2, and eigenvalues 0 of F need no special case. The cost is
    s_1 t / tau small products. The learned map is W2 W1 = QQ^T[item:, :item].
    Source: Fukumizu 1998; Saxe et al. 2019.

    Args:
        q0: [W1^T; W2] at step 0: one row per item, then one per feature.
        target: Y.
        step: Steps t >= 0, a number or a one-dimensional array in any order.
        tau: n / learning rate, in steps.

    Returns:
        (item+feature, item+feature) for a number, with a leading step dimension for an array.

    Raises:
        ValueError: If shapes disagree, the start is not balanced or a step is negative.
    """
    check_positive("tau", tau)
    check_nonnegative("step", step)
    features, items = target.shape
    if q0.ndim != 2 or q0.shape[0] != items + features:
        raise ValueError(
            f"q0 has shape {q0.shape}: it must be (item + feature, hidden) ="
            f" ({items + features}, hidden); stack [W1.T; W2]"
        )
    _check_balanced(q0[:items].T, q0[items:])
    flow = np.block([[np.zeros((items, items)), target.T], [target, np.zeros((features,) * 2)]])
    rates, basis = np.linalg.eigh(flow)
    # In time t / tau the quadratic term has coefficient 1.
    times = np.atleast_1d(np.asarray(step, dtype=np.float64)) / tau
    solution = np.empty((times.size, *flow.shape))
    state, now = basis.T @ q0, 0.0
    for index in np.argsort(times):
        state, now = _advance(state, rates, times[index] - now), times[index]
        weights = basis @ state
        solution[index] = weights @ weights.T
    return solution if np.ndim(step) else solution[0]


def aligned_balanced_init(
    target: Float[Array, "feature item"], hidden: int, a0: ArrayLike
) -> tuple[Float[Array, "hidden item"], Float[Array, "feature hidden"]]:
    """Weights whose product is U[:, :rank] diag(a0) Vt[:rank], each mode in a unit of its own.

    W1 = sqrt(a0) Vt[:rank], W2 = U[:, :rank] sqrt(a0), padded with zeros to ``hidden``; so
    W1 W1^T = W2^T W2 and every mode follows ``mode_strength``. Modes of singular value 0 stay at 0.

    Args:
        target: Y.
        hidden: Number of hidden units, at least the rank of Y.
        a0: Initial strength, one number for all modes or one per mode (rank,), at least 0.

    Returns:
        W1 (hidden, item) and W2 (feature, hidden).

    Raises:
        ValueError: If there are fewer hidden units than modes, or a0 is negative.
    """
    check_nonnegative("initial mode strength", a0)
    left, strengths, right = svd_modes(target)
    rank = strengths.size
    if hidden < rank:
        raise ValueError(
            f"hidden = {hidden}: the target has {rank} modes and each needs a unit of its own;"
            f" use hidden >= {rank}"
        )
    root = np.sqrt(np.broadcast_to(np.asarray(a0, dtype=np.float64), (rank,)))
    w1, w2 = np.zeros((hidden, target.shape[1])), np.zeros((target.shape[0], hidden))
    w1[:rank] = root[:, None] * right[:rank]
    w2[:, :rank] = left[:, :rank] * root
    return w1, w2


def random_balanced_init(
    shape: tuple[int, int], hidden: int, scale: float, rng: np.random.Generator
) -> tuple[Float[Array, "hidden item"], Float[Array, "feature hidden"]]:
    """A random start with W1 W1^T = W2^T W2, in no way aligned with the target.

    A Gaussian map A D B^T with entries of standard deviation scale^2 sqrt(hidden) (that of W2 W1
    when both layers are Gaussian with standard deviation ``scale``) is split as
    W2 = A sqrt(D) R^T, W1 = R sqrt(D) B^T with R a random orthonormal (hidden, rank) frame.

    Args:
        shape: (feature, item), the shape of Y.
        hidden: Number of hidden units; the map keeps its ``hidden`` leading modes if fewer.
        scale: Standard deviation of a weight, above 0.
        rng: Source of randomness.

    Returns:
        W1 (hidden, item) and W2 (feature, hidden).

    Raises:
        ValueError: If ``hidden`` is below 1 or ``scale`` not above 0.
    """
    check_positive("hidden", hidden)
    check_positive("scale", scale)
    left, strengths, right = np.linalg.svd(
        scale**2 * np.sqrt(hidden) * rng.standard_normal(shape), full_matrices=False
    )
    rank = min(hidden, strengths.size)
    frame, _ = np.linalg.qr(rng.standard_normal((hidden, rank)))
    root = np.sqrt(strengths[:rank])
    return frame @ (root[:, None] * right[:rank]), (left[:, :rank] * root) @ frame.T
