"""What losses do under a Gaussian law: covariances, influences, the local learning coefficient.

Notation of ``stagewise.theory.quadratic``, which also offers these under its own name: l_i(d) =
g_i^T d + 1/2 d^T A_i d (less l_i(w*)), H the mean of the A_i, nbeta H + gamma I the curvature of U.
"""

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_gradients, check_positive
from stagewise.theory.spectrum import (
    GaussianLaw,
    Spectrum,
    check_local,
    spectrum_of,
    stationary_variance,
    total_curvature,
)

Array = np.ndarray


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
