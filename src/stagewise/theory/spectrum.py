"""Moments of a Langevin chain along one eigenvector of the curvature, in closed form.

The chain runs on U(w) = nbeta L(w) + (gamma / 2)|d|^2, d = w - w*, with L quadratic. Along an
eigenvector of M = nbeta H + gamma I with eigenvalue m, with b the same component of nbeta gbar
(gbar the gradient of L at w*), eta = epsilon / 2 and friction f,

    v <- (1 - f) v - eta (m d + b) + sqrt(2 f eta) xi,    d <- d + v,

which is stochastic gradient Langevin dynamics (SGLD) at f = 1.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_nonnegative, check_positive

__all__ = [
    "GaussianLaw",
    "ModalLaw",
    "Spectrum",
    "check_local",
    "check_stable",
    "finite_time_moments",
    "spectrum_of",
    "stationary_variance",
    "total_curvature",
]

Array = np.ndarray


class Spectrum(NamedTuple):
    """Eigenvalues (rising) and eigenvectors (columns) of a symmetric matrix."""

    values: Float[Array, " parameter"]
    vectors: Float[Array, "parameter parameter"]


class GaussianLaw(NamedTuple):
    """Mean of d = w - w* and covariance of w."""

    mean: Float[Array, " parameter"]
    covariance: Float[Array, "parameter parameter"]


class ModalLaw(NamedTuple):
    """A Gaussian law of d whose covariance is diagonal in the eigenbasis of the mean Hessian."""

    vectors: Float[Array, "parameter parameter"]
    mean: Float[Array, " parameter"]
    variance: Float[Array, " parameter"]

    def gaussian(self) -> GaussianLaw:
        """The same law in the original coordinates."""
        scaled = self.vectors * np.sqrt(self.variance)
        return GaussianLaw(self.vectors @ self.mean, scaled @ scaled.T)


def spectrum_of(hessian: Float[Array, "parameter parameter"]) -> Spectrum:
    """Eigendecomposition of a symmetric matrix.

    Args:
        hessian: Symmetric matrix.

    Returns:
        Eigenvalues in rising order and eigenvectors as columns.

    Raises:
        ValueError: If the matrix is not square, finite and symmetric.
    """
    if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1]:
        raise ValueError(f"Hessian of shape {hessian.shape}: it must be square (P, P)")
    size = np.abs(hessian).max(initial=0.0)
    if not np.isfinite(size) or np.abs(hessian - hessian.T).max(initial=0.0) > 1e-8 * size:
        raise ValueError(
            "Hessian: it must be finite and symmetric; average it with its transpose, and look for"
            " losses that overflow"
        )
    return Spectrum(*np.linalg.eigh((hessian + hessian.T) / 2))


def total_curvature(
    values: Float[Array, " parameter"], n_beta: float, localization: float
) -> Float[Array, " parameter"]:
    """Eigenvalues m = nbeta lambda + gamma of the potential's Hessian.

    Args:
        values: Eigenvalues lambda of the mean Hessian.
        n_beta: Inverse temperature times n, at least 0.
        localization: gamma, above 0.

    Returns:
        The eigenvalues m, of any sign.

    Raises:
        ValueError: If n_beta or localization is out of range.
    """
    check_nonnegative("n_beta", n_beta)
    check_positive("localization", localization)
    return n_beta * values + localization


def check_local(curvature: Float[Array, " parameter"]) -> None:
    """Require every eigenvalue of nbeta H + gamma I to be positive.

    Args:
        curvature: Eigenvalues m.

    Raises:
        ValueError: If one is not: then no Gaussian law at the checkpoint exists.
    """
    smallest = curvature.min()
    if not smallest > 0:
        raise ValueError(
            f"smallest eigenvalue of n_beta*H + localization*I = {smallest:.6g}: it must be above 0"
            f" for a Gaussian law at the checkpoint; raise localization by more than"
            f" {-smallest:.6g}, or lower n_beta (a finite number of steps from the checkpoint has"
            " a law all the same: sgld_law_at)"
        )


def check_stable(
    curvature: Float[Array, " parameter"], step_size: float, friction: float = 1.0
) -> None:
    """Require step_size * m < 4 (2 - friction) for every eigenvalue m.

    Args:
        curvature: Eigenvalues m.
        step_size: epsilon.
        friction: f in (0, 1].

    Raises:
        ValueError: If friction is out of range or the chain would diverge.
    """
    if not 0 < friction <= 1:
        raise ValueError(f"friction = {friction}: it must lie in (0, 1]; 1 is SGLD")
    if not (np.isfinite(step_size) and step_size > 0):
        raise ValueError(f"step_size = {step_size}: it must be finite and above 0")
    limit, largest = 4 * (2 - friction), curvature.max()
    if step_size * largest >= limit:
        raise ValueError(
            f"step_size * largest eigenvalue of n_beta*H + localization*I ="
            f" {step_size * largest:.6g}: it must be below {limit:g} or the chain diverges; use"
            f" step_size < {limit / largest:.6g}"
        )


def stationary_variance(
    curvature: Float[Array, " parameter"], step_size: float, friction: float = 1.0
) -> Float[Array, " parameter"]:
    """Stationary variance of d along eigenvectors, discretisation included.

    The discrete Lyapunov equation of (v, d) has the solution
    var = 1 / (m (1 - epsilon m / (4 (2 - f)))). At f = 1 that is SGLD's
    1 / (m (1 - epsilon m / 4)); as f -> 0 the inflation of sharp directions is halved.

    Args:
        curvature: Eigenvalues m.
        step_size: epsilon.
        friction: f in (0, 1].

    Returns:
        Variances.

    Raises:
        ValueError: If an eigenvalue is not positive or the chain would diverge.
    """
    check_local(curvature)
    check_stable(curvature, step_size, friction)
    return 1 / (curvature * (1 - step_size * curvature / (4 * (2 - friction))))


def _geometric_sum(deficit: Array, steps: int) -> Array:
    """sum_{t < steps} (1 - deficit)^t, without loss of digits at small deficits."""
    flat = deficit == 0
    safe = np.where(flat, 1.0, deficit)
    small = safe < 0.5
    log_ratio = np.log1p(np.where(small, -safe, 0.0))
    near = -np.expm1(steps * log_ratio) / safe
    far = (1 - (1 - safe) ** steps) / safe
    return np.where(flat, float(steps), np.where(small, near, far))


def finite_time_moments(
    curvature: Float[Array, " parameter"],
    drift: Float[Array, " parameter"],
    step_size: float,
    steps: int,
) -> tuple[Float[Array, " parameter"], Float[Array, " parameter"]]:
    """Mean and variance of d after a number of SGLD steps from d = 0.

    With k = 1 - epsilon m / 2: mean = -(epsilon / 2) b sum_{t < T} k^t and
    variance = epsilon sum_{t < T} k^(2t). Nothing need be stationary: m may be 0 or negative.

    Args:
        curvature: Eigenvalues m, any sign.
        drift: nbeta times the mean gradient, along the eigenvectors.
        step_size: epsilon.
        steps: T, at least 0.

    Returns:
        Mean and variance along the eigenvectors.

    Raises:
        ValueError: If step_size or steps is out of range, or the moments overflow.
    """
    if not (np.isfinite(step_size) and step_size > 0):
        raise ValueError(f"step_size = {step_size}: it must be finite and above 0")
    if steps < 0:
        raise ValueError(f"steps = {steps}: it must be at least 0")
    deficit = step_size * curvature / 2
    with np.errstate(over="ignore", invalid="ignore"):
        mean = -step_size / 2 * drift * _geometric_sum(deficit, steps)
        variance = step_size * _geometric_sum(deficit * (2 - deficit), steps)
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        raise ValueError(
            f"the chain overflows within steps = {steps}: smallest and largest eigenvalue of"
            f" n_beta*H + localization*I are {curvature.min():.6g} and {curvature.max():.6g}; use"
            " fewer steps, a larger localization or a smaller step_size"
        )
    return mean, variance
