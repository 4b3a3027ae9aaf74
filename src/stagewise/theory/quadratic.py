"""Exact laws of Langevin chains on quadratic losses, and the covariances of the losses under them.

Per-sample losses l_i(d) = g_i^T d + 1/2 d^T A_i d (less l_i(w*)), d = w - w* for the checkpoint w*;
L their mean, with gradient gbar and Hessian H; U = nbeta L + (gamma / 2)|d|^2 and
M = nbeta H + gamma I. Functions take a precomputed eigendecomposition of H (``spectrum``) so that
many settings share one; ``stagewise.theory.quadratic_model.QuadraticModel`` does so by itself.
"""

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_gradients, check_positive
from stagewise.theory.minibatch import minibatch_sgld_law
from stagewise.theory.spectrum import (
    GaussianLaw,
    ModalLaw,
    Spectrum,
    check_local,
    finite_time_moments,
    spectrum_of,
    stationary_variance,
    total_curvature,
)

__all__ = [
    "GaussianLaw",
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


def quadratic_loss_covariance(
    gradients: Float[Array, "sample parameter"],
    hessians: Float[Array, "sample parameter parameter"],
    law: GaussianLaw,
) -> Float[Array, "sample sample"]:
    """Covariance of quadratic losses under a Gaussian law; minus this is the influence.

    With g'_i = g_i + A_i mu: Cov(l_i, l_j) = g'_i^T S g'_j + 1/2 tr(A_i S A_j S).
    One (P, P) product per sample.

    Args:
        gradients: g_i at the checkpoint.
        hessians: A_i, symmetric.
        law: Mean mu of d and covariance S.

    Returns:
        (sample, sample), nats^2.

    Raises:
        ValueError: If the shapes do not belong together.
    """
    check_gradients(gradients, hessians)
    shifted = gradients + hessians @ law.mean
    products = hessians @ law.covariance
    rows = products.reshape(len(products), -1)
    columns = products.swapaxes(1, 2).reshape(len(products), -1)
    value = shifted @ law.covariance @ shifted.T + 0.5 * rows @ columns.T
    return (value + value.T) / 2


def prior_covariance(
    gradients: Float[Array, "sample parameter"],
    hessians: Float[Array, "sample parameter parameter"],
    localization: float,
) -> Float[Array, "sample sample"]:
    """Covariance of the losses under the nbeta = 0 law N(w*, I / gamma): what no data adds to.

    g_i . g_j / gamma + tr(A_i A_j) / (2 gamma^2): gradient similarity and a second-order term.

    Args:
        gradients: g_i at the checkpoint.
        hessians: A_i, symmetric.
        localization: gamma, above 0.

    Returns:
        (sample, sample), nats^2.

    Raises:
        ValueError: If the shapes do not belong together or gamma is not above 0.
    """
    check_gradients(gradients, hessians)
    check_positive("localization", localization)
    rows = hessians.reshape(len(hessians), -1)
    return gradients @ gradients.T / localization + rows @ rows.T / (2 * localization**2)


def damped_influence(
    gradients: Float[Array, "sample parameter"],
    mean_hessian: Float[Array, "parameter parameter"],
    n_beta: float,
    localization: float,
    query_gradients: Float[Array, "query parameter"] | None = None,
    *,
    spectrum: Spectrum | None = None,
) -> Float[Array, "sample query"]:
    """Leading Laplace term of the influence: the damped classical influence function.

    -g_i^T (nbeta H + gamma I)^-1 g_q; gamma / nbeta is the damping. Negative = helpful.

    Args:
        gradients: g_i of the samples.
        mean_hessian: H, symmetric.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        query_gradients: g_q; the samples themselves if None.
        spectrum: Eigendecomposition of H, if known.

    Returns:
        (sample, query).

    Raises:
        ValueError: If nbeta H + gamma I is not positive definite.
    """
    spectrum = spectrum_of(mean_hessian) if spectrum is None else spectrum
    curvature = total_curvature(spectrum.values, n_beta, localization)
    check_local(curvature)
    queries = gradients if query_gradients is None else query_gradients
    return -((gradients @ spectrum.vectors) / curvature) @ (queries @ spectrum.vectors).T


def gradient_similarity(
    gradients: Float[Array, "sample parameter"],
    localization: float,
    query_gradients: Float[Array, "query parameter"] | None = None,
) -> Float[Array, "sample query"]:
    """Influence as gamma grows: -(1 / gamma) g_i . g_q. Negative = helpful.

    Args:
        gradients: g_i of the samples.
        localization: gamma, above 0.
        query_gradients: g_q; the samples themselves if None.

    Returns:
        (sample, query).

    Raises:
        ValueError: If gamma is not above 0.
    """
    check_positive("localization", localization)
    queries = gradients if query_gradients is None else query_gradients
    return -(gradients @ queries.T) / localization


def smallest_eigenvalue(hessian: Float[Array, "parameter parameter"]) -> float:
    """Smallest eigenvalue of a Hessian; a law at the checkpoint needs gamma > -nbeta times it.

    Args:
        hessian: Symmetric matrix.

    Returns:
        The eigenvalue.

    Raises:
        ValueError: If the matrix is not square, finite and symmetric.
    """
    return float(spectrum_of(hessian).values[0])


def llc_quadratic(
    eigenvalues: Float[Array, " parameter"],
    n_beta: float,
    localization: float,
    step_size: float | None = None,
) -> float:
    """Local learning coefficient nbeta (E[L] - L(w*)) of a quadratic loss at a stationary point.

    1/2 sum_k nbeta lambda_k var_k with var_k = 1 / (nbeta lambda_k + gamma) in continuous time, or
    the variance of the SGLD chain when its step size is given. ``QuadraticModel.llc`` also has the
    mean shift.

    Args:
        eigenvalues: lambda_k of the mean Hessian.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.
        step_size: epsilon; None for continuous time.

    Returns:
        The coefficient, no unit.

    Raises:
        ValueError: If nbeta lambda_k + gamma <= 0 for some k, or the step is unstable.
    """
    curvature = total_curvature(eigenvalues, n_beta, localization)
    check_local(curvature)
    variance = 1 / curvature if step_size is None else stationary_variance(curvature, step_size)
    return float(0.5 * n_beta * np.sum(eigenvalues * variance))
