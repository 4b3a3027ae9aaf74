"""Quadratic losses: Gaussian laws, whose loss covariances are known in closed form.

On these the law of the chain that is run is known as well, step size included, so that a sampler is
judged without any allowance. The steps are large on purpose (epsilon times the curvature of U lies
between 0.4 and 0.8): discretisation inflates variances by up to a quarter, a chain relaxes within
ten steps, and a wrong factor cannot hide.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.conformance.problem import Check, Law, Problem, Settings, row_tensor
from stagewise.seeds import generator
from stagewise.theory.minibatch import minibatch_sgld_law
from stagewise.theory.momentum import explicit_momentum_variance
from stagewise.theory.quadratic_model import QuadraticModel
from stagewise.theory.spectrum import GaussianLaw, ModalLaw, total_curvature

Array = np.ndarray

PARAMETERS, SAMPLES = 4, 6


def gaussian() -> Problem:
    """Return quadratic losses whose mean is least at the checkpoint."""
    return _gaussian("gaussian", "quadratic losses, checkpoint at the minimum", 0.0)


def gaussian_off_minimum() -> Problem:
    """Return quadratic losses with a mean gradient at the checkpoint: the law is shifted."""
    return _gaussian("gaussian_off_minimum", "quadratic losses, checkpoint off the minimum", 0.05)


def linear_regression() -> Problem:
    """Return Bayesian linear regression at the least-squares solution."""
    return _regression("linear_regression", "Bayesian linear regression", None)


def linear_regression_minibatch() -> Problem:
    """Return the same with minibatches of 3 of 12 samples, drawn with replacement."""
    title = "Bayesian linear regression, minibatches drawn with replacement"
    return _regression("linear_regression_minibatch", title, 3)


def damped_influence() -> Problem:
    """Return a stiff quadratic on which the covariance is the damped influence function.

    Cov(l_i, l_j) -> g_i^T (nbeta H + gamma I)^-1 g_j as nbeta and gamma grow at a fixed ratio,
    which is the damping: what is left out falls like 1 / nbeta, here below a hundredth.
    """
    gradients, hessians = _derivatives("damped_influence", 0.0)
    settings = Settings(n_beta=20_000.0, localization=800.0, step_size=2.5e-4, burn_in=40)
    model = QuadraticModel(gradients, hessians)

    def exact(law: Law) -> Array | None:
        if law.name == "continuum":
            return -model.damped_influence(settings.n_beta, settings.localization)
        known = chain_law(model, settings, law)
        return None if known is None else model.loss_covariance(known)

    check = Check("influence", "covariance", exact)
    title = "damped-influence limit, large nβ and γ at a fixed ratio"
    return _quadratic("damped_influence", title, gradients, hessians, settings, (check,))


def chain_law(model: QuadraticModel, settings: Settings, law: Law) -> ModalLaw | None:
    """Return the stationary law of a full-gradient chain on a quadratic."""
    n_beta, gamma, step = settings.n_beta, settings.localization, settings.step_size
    if law.name == "sgld":
        return model.sgld_law(n_beta, gamma, step)
    if law.name == "underdamped":
        return model.underdamped_law(n_beta, gamma, step, law.friction)
    curvature = total_curvature(model.spectrum.values, n_beta, gamma)
    mean = -n_beta * (model.spectrum.vectors.T @ model.mean_gradient) / curvature
    if law.name in ("continuum", "baoab"):
        return ModalLaw(model.spectrum.vectors, mean, 1 / curvature)
    variance = explicit_momentum_variance(curvature, step, law.friction)
    return ModalLaw(model.spectrum.vectors, mean, variance)


def _gaussian(name: str, title: str, slope: float) -> Problem:
    gradients, hessians = _derivatives(name, slope)
    settings = Settings(n_beta=100.0, localization=4.0, step_size=0.05, burn_in=40)
    checks = _full_checks(QuadraticModel(gradients, hessians), settings)
    return _quadratic(name, title, gradients, hessians, settings, checks)


def _full_checks(model: QuadraticModel, settings: Settings) -> tuple[Check, ...]:
    """Return mean excess losses and loss covariances, for every law."""

    def means(law: Law) -> Array | None:
        known = chain_law(model, settings, law)
        return None if known is None else model.mean_excess_losses(known)

    def covariance(law: Law) -> Array | None:
        known = chain_law(model, settings, law)
        return None if known is None else model.loss_covariance(known)

    return Check("mean", "mean", means), Check("covariance", "covariance", covariance)


def _derivatives(name: str, slope: float) -> tuple[Array, Array]:
    """Gradients g_i and Hessians A_i whose mean Hessian has eigenvalues 0.04, ..., 0.12."""
    rng = generator(0, "conformance", name)
    gradients = 0.3 * rng.standard_normal((SAMPLES, PARAMETERS))
    gradients -= gradients.mean(axis=0) - slope
    factors = rng.standard_normal((SAMPLES, PARAMETERS, 2))
    hessians = factors @ factors.swapaxes(1, 2)
    values, vectors = np.linalg.eigh(hessians.mean(axis=0))
    wanted = np.linspace(0.04, 0.12, PARAMETERS)
    scale = vectors @ np.diag(np.sqrt(wanted / values)) @ vectors.T
    return gradients, scale @ hessians @ scale


def _quadratic(
    name: str,
    title: str,
    gradients: Float[Array, "sample parameter"],
    hessians: Float[Array, "sample parameter parameter"],
    settings: Settings,
    checks: tuple[Check, ...],
) -> Problem:
    # Not at 0: a sampler that pulls towards 0 instead of the checkpoint is to be seen.
    checkpoint = torch.linspace(0.5, -0.5, PARAMETERS)

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        d = w - checkpoint.to(w)
        curved = rows[:, PARAMETERS:].reshape(-1, PARAMETERS, PARAMETERS) @ d
        return rows[:, :PARAMETERS] @ d + 0.5 * curved @ d

    rows = np.concatenate([gradients, hessians.reshape(SAMPLES, -1)], axis=1)
    return Problem(name, title, loss, row_tensor(rows), checkpoint, settings, checks)


def _regression(name: str, title: str, batch_size: int | None) -> Problem:
    """l_i = 1/2 (y_i - x_i . w)^2 on 12 samples with 3 inputs."""
    rng = generator(0, "conformance", "linear_regression")
    x = rng.standard_normal((12, 3)) * np.array([1.0, 0.9, 0.8])
    y = x @ np.array([1.0, -0.5, 0.25]) + 0.3 * rng.standard_normal(12)
    rows = row_tensor(np.column_stack([x, y]))
    x, y = rows[:, :3].numpy().astype(np.float64), rows[:, 3].numpy().astype(np.float64)
    checkpoint = torch.from_numpy(np.linalg.lstsq(x, y)[0].astype(np.float32))
    residual = x @ checkpoint.numpy().astype(np.float64) - y
    gradients, hessians = residual[:, None] * x, x[:, :, None] * x[:, None, :]
    settings = Settings(
        n_beta=20.0, localization=4.0, step_size=0.03, burn_in=60, batch_size=batch_size
    )
    model = QuadraticModel(gradients, hessians)
    full = _full_checks(model, settings)
    checks = full if batch_size is None else (_minibatch_check(model, settings, batch_size),)

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        return 0.5 * (rows[:, 3] - rows[:, :3] @ w).square()

    return Problem(name, title, loss, rows, checkpoint, settings, checks)


def _minibatch_check(model: QuadraticModel, settings: Settings, batch_size: int) -> Check:
    """Mean excess losses: the first two moments of the chain are exact with minibatches too.

    Loss covariances would need its fourth moments. Without minibatches the means would be those of
    the continuum, which no minibatch chain of this step size has.
    """

    def means(law: Law) -> Array | None:
        if law.name == "continuum":
            continuum = chain_law(model, settings, law)
            return None if continuum is None else model.mean_excess_losses(continuum)
        if law.name != "sgld":
            return None
        moments = minibatch_sgld_law(
            model.gradients,
            model.hessians,
            batch_size,
            settings.n_beta,
            settings.localization,
            settings.step_size,
        )
        return _mean_losses(model, moments)

    return Check("mean", "mean", means)


def _mean_losses(model: QuadraticModel, law: GaussianLaw) -> Array:
    """E[l_i(w)] - l_i(w*) from the first two moments of any law."""
    second = law.covariance + np.outer(law.mean, law.mean)
    return model.gradients @ law.mean + 0.5 * np.einsum("ipq,pq->i", model.hessians, second)
