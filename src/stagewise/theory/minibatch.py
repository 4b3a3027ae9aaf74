"""First two moments of SGLD with minibatches on quadratic losses."""

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_gradients, check_positive
from stagewise.theory.spectrum import (
    GaussianLaw,
    check_local,
    check_stable,
    spectrum_of,
    total_curvature,
)

__all__ = ["minibatch_sgld_law"]

Array = np.ndarray


def _fixed_point(
    constant: Array,
    deviation: Array,
    noise: float,
    relaxation: Array,
    tolerance: float,
    max_iterations: int,
) -> Array | None:
    """Solve relaxation * S = constant + noise sum_i D_i S D_i; None if the iteration diverges."""
    stacked = deviation.reshape(-1, constant.shape[0])
    covariance, last = constant / relaxation, 0.0
    for _ in range(max_iterations):
        half = (deviation @ covariance).swapaxes(0, 1).reshape(constant.shape[0], -1)
        updated = (constant + noise * half @ stacked) / relaxation
        change, size = np.abs(updated - covariance).max(), np.abs(updated).max()
        if not np.isfinite(change):
            return None
        # The changes fall geometrically: what is left is change^2 / (last - change).
        settled = change < last and change**2 <= tolerance * size * (last - change)
        if settled or change <= 4 * np.finfo(np.float64).eps * size:
            return updated
        covariance, last = updated, change
    return None


def minibatch_sgld_law(
    gradients: Float[Array, "sample parameter"],
    hessians: Float[Array, "sample parameter parameter"],
    batch_size: int,
    n_beta: float,
    localization: float,
    step_size: float,
    *,
    tolerance: float = 1e-12,
    max_iterations: int = 100_000,
) -> GaussianLaw:
    """Stationary mean and covariance of SGLD with minibatches drawn with replacement.

    With K = I - (epsilon / 2) M and mu = -M^-1 nbeta gbar the covariance S is the fixed point of

        S = K S K^T + epsilon I + (epsilon nbeta / 2)^2 / m
            [Cov_i(g_i + A_i mu) + mean_i (A_i - H) S (A_i - H)^T],

    reached by iteration in the eigenbasis of H. The law is not Gaussian: its first two moments are
    exact, loss covariances would need the fourth. For the recentred potential (same batch at w and
    w*) pass zero gradients.

    Args:
        gradients: g_i at the checkpoint.
        hessians: A_i, symmetric.
        batch_size: m, samples in a minibatch, at least 1.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        tolerance: Relative error at which the iteration stops.
        max_iterations: Iterations after which it gives up.

    Returns:
        Mean and covariance of d.

    Raises:
        ValueError: If M is not positive definite, the step is unstable, or the gradient noise
            grows with the distance so fast that there is no stationary covariance.
    """
    check_gradients(gradients, hessians)
    check_positive("batch_size", batch_size)
    spectrum = spectrum_of(hessians.mean(axis=0))
    curvature = total_curvature(spectrum.values, n_beta, localization)
    check_local(curvature)
    check_stable(curvature, step_size)
    vectors, noise = spectrum.vectors, (step_size * n_beta / 2) ** 2 / batch_size
    drift = vectors.T @ gradients.mean(axis=0)
    mean = -n_beta * drift / curvature
    deviation = vectors.T @ hessians @ vectors - np.diag(spectrum.values)
    spread = gradients @ vectors - drift + deviation @ mean
    constant = step_size * np.eye(mean.size) + noise * spread.T @ spread / len(spread)
    deficit = step_size * curvature / 2
    # 1 - k_a k_b with k = 1 - deficit, without cancellation.
    relaxation = deficit[:, None] + deficit - deficit[:, None] * deficit
    covariance = _fixed_point(
        constant, deviation, noise / len(spread), relaxation, tolerance, max_iterations
    )
    if covariance is None:
        raise ValueError(
            f"no stationary covariance with batch_size = {batch_size}, step_size = {step_size}: the"
            " gradient noise outgrows the contraction; lower step_size or n_beta, or raise"
            " batch_size"
        )
    covariance = vectors @ covariance @ vectors.T
    return GaussianLaw(vectors @ mean, (covariance + covariance.T) / 2)
