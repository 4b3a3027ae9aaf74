"""Stationary law of the SGLD chain itself on a plane, discretisation included.

w' = w - (epsilon / 2) grad U(w) + sqrt(epsilon) xi has the density p that solves

    p(w') = int prod_a N(w'_a; w_a - (epsilon / 2) d_a U(w), epsilon) p(w) dw.

The noise of the two coordinates is independent, so that on an even grid one application of the
integral is two matrix products; the midpoint rule is exact to rounding where the spacing is below
sqrt(epsilon). p is found by repetition from exp(-U), which it is close to. U is taken to be even in
each coordinate, as normal crossings are: so is p, and one quadrant is enough.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_positive
from stagewise.theory.singular import Moments

__all__ = ["even_sgld_moments"]

Array = np.ndarray

#: Spacing of the grid in units of sqrt(epsilon): an error of e^(-2 pi^2 / SPACING^2).
SPACING = 0.8


def even_sgld_moments(
    potential: Callable[[Float[Array, "node 2"]], Float[Array, " node"]],
    gradient: Callable[[Float[Array, "node 2"]], Float[Array, "node 2"]],
    features: Callable[[Float[Array, "node 2"]], Float[Array, "node feature"]],
    reach: float,
    step_size: float,
    *,
    tolerance: float = 1e-7,
    most: int = 20_000,
) -> Moments:
    """Moments of even functions of w under the stationary law of two-dimensional SGLD.

    Args:
        potential: U, even in each coordinate; the iteration starts from its law.
        gradient: grad U.
        features: The functions whose moments are wanted, even in each coordinate.
        reach: Half the width of the square about 0, beyond which the density is negligible.
        step_size: epsilon, above 0.
        tolerance: Largest sum of absolute changes of the law that is still to come.
        most: Applications of the integral after which it gives up.

    Returns:
        Moments of the features.

    Raises:
        ValueError: If an argument is out of range or the iteration does not settle.
    """
    check_positive("reach", reach)
    check_positive("step_size", step_size)
    spacing = SPACING * np.sqrt(step_size)
    axis = spacing * (np.arange(int(np.ceil(reach / spacing))) + 0.5)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    moved = points - step_size / 2 * gradient(points)
    first, second = (_kernel(axis, moved[:, column], step_size) for column in (0, 1))
    values = potential(points)
    density = np.exp(values.min() - values)
    density = _settled(density / density.sum(), first, second, tolerance, most)
    found = features(points)
    mean = density @ found
    centred = found - mean
    return Moments(mean, centred.T @ (density[:, None] * centred))


def _kernel(axis: Array, mean: Array, step_size: float) -> Array:
    """Probability of each target |w'| (target, source); what would leave the grid stays inside."""
    inside = np.clip(mean, -axis[-1], axis[-1])
    weight = sum(np.exp(-((axis[:, None] - s * inside) ** 2) / (2 * step_size)) for s in (-1, 1))
    return weight / weight.sum(axis=0)


def _settled(density: Array, first: Array, second: Array, tolerance: float, most: int) -> Array:
    last = np.inf
    for _ in range(most):
        updated = ((first * density) @ second.T).ravel()
        change = float(np.abs(updated - density).sum())
        density = updated
        # The changes fall geometrically: what is left is change / (1 - change / last).
        if change <= tolerance * (1.0 - change / last):
            return density / density.sum()
        last = change
    raise ValueError(
        f"the law has not settled after {most} applications: the chain relaxes too slowly; use a"
        " larger step_size or a stronger localization"
    )
