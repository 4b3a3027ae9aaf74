"""Exact laws of Langevin chains on quadratic losses.

Per-sample losses l_i(d) = g_i^T d + 1/2 d^T A_i d (less l_i(w*)), d = w - w* for the checkpoint w*;
L their mean, with gradient gbar and Hessian H; U = nbeta L + (gamma / 2)|d|^2 and
M = nbeta H + gamma I. Functions take a precomputed eigendecomposition of H (``spectrum``) so that
many settings share one; ``stagewise.theory.quadratic_model.QuadraticModel`` does so by itself. What
follows for the losses stands in ``stagewise.theory.quadratic_losses``.
"""

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_positive
from stagewise.theory.minibatch import minibatch_sgld_law
from stagewise.theory.quadratic_losses import (
    damped_influence,
    gradient_similarity,
    llc_quadratic,
    prior_covariance,
    quadratic_loss_covariance,
    smallest_eigenvalue,
)
from stagewise.theory.spectrum import (
    GaussianLaw,
    ModalLaw,
    Spectrum,
    finite_time_moments,
    spectrum_of,
    stationary_variance,
    total_curvature,
)

__all__ = [
    "GaussianLaw",
    "baoab_law",
    "damped_influence",
    "gradient_similarity",
    "llc_quadratic",
    "minibatch_sgld_law",
    "modal_law",
    "prior_covariance",
    "quadratic_loss_covariance",
    "recentred_law",
    "sgld_law",
    "sgld_law_at",
    "smallest_eigenvalue",
    "underdamped_law",
]

Array = np.ndarray


def modal_law(
    mean_gradient: Float[Array, " parameter"],
    spectrum: Spectrum,
    n_beta: float,
    localization: float,
    step_size: float,
    *,
    friction: float = 1.0,
    steps: int | None = None,
) -> ModalLaw:
    """The law of the chain in the eigenbasis of the mean Hessian; the laws below are this one.

    Args:
        mean_gradient: gbar at the checkpoint; zeros for the recentred potential.
        spectrum: Eigendecomposition of the mean Hessian.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        friction: f in (0, 1]; 1 is SGLD.
        steps: Steps from d = 0, SGLD only; None for the stationary law.

    Returns:
        Mean and variances along the eigenvectors.

    Raises:
        ValueError: If an argument is out of range or no such law exists.
    """
    curvature = total_curvature(spectrum.values, n_beta, localization)
    drift = n_beta * (spectrum.vectors.T @ mean_gradient)
    if steps is not None:
        if friction != 1:
            raise ValueError(f"friction = {friction}: the finite-time law is SGLD's; use 1")
        return ModalLaw(spectrum.vectors, *finite_time_moments(curvature, drift, step_size, steps))
    variance = stationary_variance(curvature, step_size, friction)
    return ModalLaw(spectrum.vectors, -drift / curvature, variance)


def sgld_law(
    mean_gradient: Float[Array, " parameter"],
    mean_hessian: Float[Array, "parameter parameter"],
    n_beta: float,
    localization: float,
    step_size: float,
    *,
    spectrum: Spectrum | None = None,
) -> GaussianLaw:
    """Stationary law of full-gradient SGLD, exact for the discrete chain.

    mean = -M^-1 nbeta gbar,   covariance = (M (I - epsilon M / 4))^-1.

    Args:
        mean_gradient: gbar at the checkpoint.
        mean_hessian: H, symmetric.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        spectrum: Eigendecomposition of H, if known.

    Returns:
        Law of d = w - w*.

    Raises:
        ValueError: If M is not positive definite or the step is unstable.
    """
    spectrum = spectrum_of(mean_hessian) if spectrum is None else spectrum
    return modal_law(mean_gradient, spectrum, n_beta, localization, step_size).gaussian()


def sgld_law_at(
    mean_gradient: Float[Array, " parameter"],
    mean_hessian: Float[Array, "parameter parameter"],
    n_beta: float,
    localization: float,
    step_size: float,
    steps: int,
    *,
    spectrum: Spectrum | None = None,
) -> GaussianLaw:
    """Law of full-gradient SGLD after ``steps`` steps from d = 0.

    With K = I - (epsilon / 2) M: mean = -(epsilon / 2) sum_{t < T} K^t nbeta gbar and
    covariance = epsilon sum_{t < T} K^(2t). It exists also where M is not positive definite.

    Args:
        mean_gradient: gbar at the checkpoint.
        mean_hessian: H, symmetric.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        steps: T, at least 0.
        spectrum: Eigendecomposition of H, if known.

    Returns:
        Law of d = w - w*.

    Raises:
        ValueError: If an argument is out of range or the moments overflow.
    """
    spectrum = spectrum_of(mean_hessian) if spectrum is None else spectrum
    law = modal_law(mean_gradient, spectrum, n_beta, localization, step_size, steps=steps)
    return law.gaussian()


def underdamped_law(
    mean_gradient: Float[Array, " parameter"],
    mean_hessian: Float[Array, "parameter parameter"],
    n_beta: float,
    localization: float,
    step_size: float,
    friction: float,
    *,
    spectrum: Spectrum | None = None,
) -> GaussianLaw:
    """Stationary law of the position of underdamped Langevin dynamics with full gradients.

    v <- (1 - f) v - eta grad U + sqrt(2 f eta) xi, w <- w + v, eta = epsilon / 2. The discrete
    Lyapunov equation of (v, w) separates into one 2 x 2 equation for each eigenvector of M, whose
    solution is var(w) = 1 / (m (1 - epsilon m / (4 (2 - f)))), var(v) = epsilon m var(w) / (2 - f),
    cov(v, w) = var(v) / 2. The mean is -M^-1 nbeta gbar.

    Args:
        mean_gradient: gbar at the checkpoint.
        mean_hessian: H, symmetric.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        friction: f in (0, 1]; 1 is SGLD.
        spectrum: Eigendecomposition of H, if known.

    Returns:
        Law of d = w - w*.

    Raises:
        ValueError: If M is not positive definite or epsilon m >= 4 (2 - f) for some m.
    """
    spectrum = spectrum_of(mean_hessian) if spectrum is None else spectrum
    law = modal_law(mean_gradient, spectrum, n_beta, localization, step_size, friction=friction)
    return law.gaussian()


def baoab_law(
    mean_gradient: Float[Array, " parameter"],
    mean_hessian: Float[Array, "parameter parameter"],
    n_beta: float,
    localization: float,
    step_size: float,
    *,
    spectrum: Spectrum | None = None,
) -> GaussianLaw:
    """Stationary law of the position under BAOAB with full gradients: no discretisation error.

    mean = -M^-1 nbeta gbar,   covariance = M^-1, at any friction and any stable step: with the time
    step h = sqrt(epsilon / 2), h^2 m < 4 for every eigenvalue m of M.

    Args:
        mean_gradient: gbar at the checkpoint.
        mean_hessian: H, symmetric.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        spectrum: Eigendecomposition of H, if known.

    Returns:
        Law of d = w - w*.

    Raises:
        ValueError: If M is not positive definite or the step is unstable.

    Source: Leimkuhler & Matthews 2013, arXiv:1203.5428.
    """
    spectrum = spectrum_of(mean_hessian) if spectrum is None else spectrum
    curvature = total_curvature(spectrum.values, n_beta, localization)
    check_positive("step_size", step_size)
    if curvature.min() <= 0 or step_size * curvature.max() >= 8:
        raise ValueError(
            f"curvatures of U from {curvature.min():.3g} to {curvature.max():.3g} at step size "
            f"{step_size:.3g}: BAOAB needs them positive and below 8/step_size; raise the "
            "localization or lower the step size"
        )
    drift = n_beta * (spectrum.vectors.T @ mean_gradient)
    return ModalLaw(spectrum.vectors, -drift / curvature, 1.0 / curvature).gaussian()


def recentred_law(
    mean_hessian: Float[Array, "parameter parameter"],
    n_beta: float,
    localization: float,
    step_size: float,
    friction: float = 1.0,
    *,
    spectrum: Spectrum | None = None,
) -> GaussianLaw:
    """Stationary law on the recentred potential nbeta [L - gbar . d] + (gamma / 2)|d|^2.

    The gradient at the checkpoint is taken out of the drift, so the mean is 0 and the covariance
    that of ``sgld_law`` or ``underdamped_law``. Losses keep their own gradients.

    Args:
        mean_hessian: H, symmetric.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon.
        friction: f in (0, 1]; 1 is SGLD.
        spectrum: Eigendecomposition of H, if known.

    Returns:
        Law of d = w - w*, with mean 0.

    Raises:
        ValueError: If M is not positive definite or the step is unstable.
    """
    still = np.zeros(mean_hessian.shape[0])
    return underdamped_law(
        still, mean_hessian, n_beta, localization, step_size, friction, spectrum=spectrum
    )
