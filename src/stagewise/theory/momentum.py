"""Stationary law of the explicit (fully delayed) form of momentum on a quadratic.

    w' = w + h m,    m' = (1 - f) m - h grad U(w) + sqrt(2 f) xi,    h = sqrt(epsilon / 2)

as in Chen, Fox & Guestrin 2014, where both lines read the old state. ``quadratic.underdamped_law``
is the other common form, whose position moves with the new momentum.
"""

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_positive
from stagewise.theory.spectrum import check_local

__all__ = ["explicit_momentum_variance"]


def explicit_momentum_variance(
    curvature: Float[np.ndarray, " parameter"], step_size: float, friction: float
) -> Float[np.ndarray, " parameter"]:
    """Stationary variance of w along eigenvectors of the curvature of U.

    With a = epsilon m / 2 the discrete Lyapunov equation of (w, m) has the solution

        var = (1 - f/2 + a/2) / m * 2 f / (f (2 - f) - a (2 - 3 f / 2 + a / 2)).

    Args:
        curvature: Eigenvalues m of the potential's Hessian.
        step_size: epsilon.
        friction: f in (0, 1].

    Returns:
        Variances.

    Raises:
        ValueError: If an argument is out of range, or the chain would diverge: it needs f > a,
            so that friction must grow with the step.
    """
    check_local(curvature)
    check_positive("step_size", step_size)
    if not 0 < friction <= 1:
        raise ValueError(f"friction = {friction}: it must lie in (0, 1]")
    share = step_size * curvature / 2
    room = friction * (2 - friction) - share * (2 - 1.5 * friction + share / 2)
    if share.max() >= friction or room.min() <= 0:
        raise ValueError(
            f"step_size * largest curvature / 2 = {share.max():.6g}: it must be below the friction"
            f" {friction:g} or the chain diverges; use step_size <"
            f" {2 * friction / curvature.max():g}"
        )
    return (1 - friction / 2 + share / 2) / curvature * 2 * friction / room
