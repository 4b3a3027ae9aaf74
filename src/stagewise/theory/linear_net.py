"""Exact derivatives and influences of the two-layer linear network yhat = W2 W1 x.

Items are one-hot (X = I_n), W1 is (hidden, item), W2 (feature, hidden), Y (feature, item), and
l_i = 1/2 |y_i - W2 W1 e_i|^2 in nats. Flat parameters are [W1.ravel(), W2.ravel()], C order.
"""

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_positive
from stagewise.theory.modes import mode_slope, mode_strength, svd_modes

__all__ = [
    "loss_derivatives",
    "published_map_derivative",
    "published_trajectory_influence",
    "strong_localization_covariance",
]

Array = np.ndarray

# Singular values closer than this (relative) share the derivative at their midpoint: the midpoint
# rule is then off by 1e-12 and the difference quotient by 1e-10.
DEGENERATE = 1e-6


def _check_weights(w1: Array, w2: Array, target: Array) -> None:
    wanted = (target.shape[0], w1.shape[0]) if w1.ndim == target.ndim == 2 else None
    if wanted is None or w2.shape != wanted or w1.shape[1] != target.shape[1]:
        raise ValueError(
            f"W1 {w1.shape}, W2 {w2.shape} and Y {target.shape} do not belong together: they must"
            " be (hidden, item), (feature, hidden) and (feature, item)"
        )


def loss_derivatives(
    w1: Float[Array, "hidden item"],
    w2: Float[Array, "feature hidden"],
    target: Float[Array, "feature item"],
) -> tuple[
    Float[Array, " item"], Float[Array, "item parameter"], Float[Array, "item parameter parameter"]
]:
    """Loss, gradient and Hessian of every l_i at (W1, W2), in float64.

    With e_i = W2 W1 e_i - y_i (minus the residual) and h_i = W1[:, i]:

        dl_i/dW1[a, b] = delta_bi (W2^T e_i)_a,            dl_i/dW2[f, a] = e_i[f] h_i[a],
        W1-W1: delta_bi delta_b'i (W2^T W2)_aa',           W2-W2: delta_ff' h_i[a] h_i[a'],
        W1-W2: delta_bi (delta_aa' e_i[f] + W2[f, a] h_i[a']).

    Args:
        w1: First layer.
        w2: Second layer.
        target: Y.

    Returns:
        loss (item,), gradient (item, P) and Hessian (item, P, P), P = hidden (item + feature).

    Raises:
        ValueError: If the shapes do not belong together.
    """
    _check_weights(w1, w2, target)
    w1, w2 = np.asarray(w1, np.float64), np.asarray(w2, np.float64)
    hidden, items = w1.shape
    features, first = target.shape[0], w1.size
    error = (w2 @ w1 - target).T
    item = np.arange(items)
    gradient = np.zeros((items, first + w2.size))
    by_first = gradient[:, :first].reshape(items, hidden, items)
    by_first[item, :, item] = error @ w2
    gradient[:, :first] = by_first.reshape(items, first)
    gradient[:, first:] = np.einsum("if,ai->ifa", error, w1).reshape(items, -1)

    upper = np.zeros((items, hidden, items, hidden, items))
    upper[item, :, item, :, item] = w2.T @ w2
    cross = np.zeros((items, hidden, items, features, hidden))
    cross[item, :, item] = np.einsum("fa,ci->iafc", w2, w1)
    cross[item, :, item] += np.einsum("ac,if->iafc", np.eye(hidden), error)
    lower = np.einsum("fg,ai,ci->ifagc", np.eye(features), w1, w1)
    hessian = np.empty((items, gradient.shape[1], gradient.shape[1]))
    hessian[:, :first, :first] = upper.reshape(items, first, first)
    hessian[:, :first, first:] = cross.reshape(items, first, -1)
    hessian[:, first:, :first] = hessian[:, :first, first:].swapaxes(1, 2)
    hessian[:, first:, first:] = lower.reshape(items, w2.size, w2.size)
    return 0.5 * (error**2).sum(axis=1), gradient, hessian


def strong_localization_covariance(
    w1: Float[Array, "hidden item"],
    w2: Float[Array, "feature hidden"],
    target: Float[Array, "feature item"],
    localization: float,
) -> Float[Array, "item item"]:
    """Leading covariance of the losses as the localization grows: shared residual and hidden state.

    Cov(l_i, l_j) = (1/gamma) g_i . g_j
                  = (1/gamma) [(r_i . r_j)(h_i . h_j) + delta_ij |W2^T r_i|^2],
    with r = y - yhat and h = W1 x. Minus this is the influence of that limit.

    Args:
        w1: First layer.
        w2: Second layer.
        target: Y.
        localization: gamma, above 0.

    Returns:
        (item, item) covariance, nats^2.

    Raises:
        ValueError: If the shapes do not belong together or gamma is not above 0.
    """
    check_positive("localization", localization)
    _check_weights(w1, w2, target)
    residual = np.asarray(target - w2 @ w1, np.float64)
    shared = (residual.T @ residual) * (w1.T @ w1)
    return (shared + np.diag(((w2.T @ residual) ** 2).sum(axis=0))) / localization


def _difference_quotient(s: Array, strength: Array, a0: float, tau: float, step: float) -> Array:
    """(g_k - g_j) / (s_k - s_j) over all pairs of modes, g' where they coincide."""
    gap = s[None, :] - s[:, None]
    middle = (s[None, :] + s[:, None]) / 2
    close = np.abs(gap) <= DEGENERATE * middle
    slope = mode_slope(step, middle, a0, tau)
    rise = strength[None, :] - strength[:, None]
    return np.where(close, slope, rise / np.where(close, 1.0, gap))


def published_map_derivative(
    target: Float[Array, "feature item"],
    perturbation: Float[Array, "*sample feature item"],
    a0: float,
    tau: float,
    step: float,
) -> Float[Array, "*sample feature item"]:
    """Change of the learned map at a step when the correlation Sigma_yx changes and Sigma_xx not.

    The start is aligned and balanced for the *perturbed* target, every mode of non-zero singular
    value at a0, so that W(t) = sum_k a_k(t) u_k v_k^T follows the perturbed singular vectors. With
    E = U^T dY V, g_k = a_k(t), g'_k = da_k/ds_k,

        (dW)_jk = [(s_k E_jk + s_j E_kj) g_k - g_j (s_j E_jk + s_k E_kj)] / (s_k^2 - s_j^2),

    which is the same as, and here evaluated as,

        (dW)_jk = (E_jk + E_kj)/2 (g_k - g_j)/(s_k - s_j) + (E_jk - E_kj)/2 (g_k + g_j)/(s_k + s_j),

    with g' for the first quotient on the diagonal and where s_j = s_k. Modes beyond the rank have
    s = g = 0; where both are, dW = 0: a perturbation there creates no mode, as those start at 0.

    Args:
        target: Y; item p weighted by 1 + eta changes it by eta y_p e_p^T.
        perturbation: dY, any leading dimensions.
        a0: Initial strength of every mode, above 0.
        tau: n / learning rate, in steps.
        step: Step at which the map is read, at least 0.

    Returns:
        dW, of the perturbation's shape.

    Raises:
        ValueError: If the shapes disagree or an argument is out of range.
    """
    check_positive("initial mode strength", a0)
    if perturbation.shape[-2:] != target.shape:
        raise ValueError(
            f"perturbation {perturbation.shape} must end in the shape {target.shape} of the target"
        )
    left, s, right = svd_modes(target)
    rank, size = s.size, max(target.shape)
    g = mode_strength(step, s, a0, tau)
    even, odd = np.zeros((size, size)), np.zeros((size, size))
    even[:rank, :rank] = _difference_quotient(s, g, a0, tau, step)
    odd[:rank, :rank] = (g[None, :] + g[:, None]) / (s[None, :] + s[:, None])
    for block in (even, odd):
        block[rank:, :rank], block[:rank, rank:] = g / s, (g / s)[:, None]
    modal = np.zeros((*perturbation.shape[:-2], size, size))
    modal[..., : target.shape[0], : target.shape[1]] = left.T @ perturbation @ right.T
    mirrored = modal.swapaxes(-1, -2)
    change = (modal + mirrored) / 2 * even + (modal - mirrored) / 2 * odd
    return left @ change[..., : target.shape[0], : target.shape[1]] @ right


def published_trajectory_influence(
    target: Float[Array, "feature item"], a0: float, tau: float, step: float
) -> Float[Array, "item item"]:
    """Influence through training when an item's weight enters Sigma_yx only (the published form).

    influence[p, j] = d l_j(t) / d eta_p = -(y_j - yhat_j) . dW^(p) e_j,   dY^(p) = y_p e_p^T,
    with dW from ``published_map_derivative``. Influence sense: negative means that weight on p
    helps j. It ignores that the weight also enters Sigma_xx: late in training dW tends to dY, where
    in the discrete run a learned item's weight leaves the map alone. (Both influences then fade
    with the residual, this one more slowly.)

    Args:
        target: Y.
        a0: Initial strength of every mode, above 0.
        tau: n / learning rate, in steps.
        step: Step at which the losses are read, at least 0.

    Returns:
        (item p, item j).

    Raises:
        ValueError: If an argument is out of range.
    """
    items = target.shape[1]
    perturbation = np.einsum("fp,pi->pfi", target, np.eye(items))
    change = published_map_derivative(target, perturbation, a0, tau, step)
    left, s, right = svd_modes(target)
    learned = (left[:, : s.size] * mode_strength(step, s, a0, tau)) @ right[: s.size]
    return -np.einsum("fj,pfj->pj", target - learned, change)
