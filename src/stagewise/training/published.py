"""The published influence on a training run, differentiated numerically.

It lets item p's weight enter the input-output correlation only (Y becomes Y + eta y_p e_p^T) and
keeps the inputs' own correlation at the identity, and takes every mode of the *changed* target to
start aligned at a_0. This is the flow that its closed form is the derivative of, and not the run
that is made: compare `stagewise.training.tangent`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from stagewise.theory.linear_net import published_trajectory_influence
from stagewise.theory.modes import mode_strength, svd_modes


def published_influence(
    Y: Float[np.ndarray, "feature item"], a0: float, tau: float, steps: Sequence[int]
) -> Float[np.ndarray, "checkpoint item item"]:
    """influence[t, p, j] = d l_j(t) / d eta_p in closed form, at every step."""
    return np.stack([published_trajectory_influence(Y, a0, tau, step) for step in steps])


def published_finite_difference(
    Y: Float[np.ndarray, "feature item"],
    a0: float,
    tau: float,
    steps: Sequence[int],
    change: float = 1e-5,
) -> Float[np.ndarray, "checkpoint item item"]:
    """The same derivative by central differences of the flow, eta = +-change."""
    slopes = []
    for item in range(Y.shape[1]):
        direction = np.zeros_like(Y)
        direction[:, item] = Y[:, item]
        more, less = (
            _losses(Y, Y + sign * change * direction, a0, tau, steps) for sign in (1.0, -1.0)
        )
        slopes.append((more - less) / (2 * change))
    return np.stack(slopes, axis=1)


def _losses(
    Y: Float[np.ndarray, "feature item"],
    target: Float[np.ndarray, "feature item"],
    a0: float,
    tau: float,
    steps: Sequence[int],
) -> Float[np.ndarray, "checkpoint item"]:
    """Losses on Y of the flow that learns ``target``: W(t) = sum_k a_k(t) u_k v_k^T of target."""
    left, s, right = svd_modes(target)
    strength = mode_strength(np.asarray(steps, dtype=float)[:, None], s, a0, tau)
    learned = (left[:, : s.size] * strength[:, None, :]) @ right[: s.size]
    return 0.5 * np.square(learned - Y).sum(axis=-2)
