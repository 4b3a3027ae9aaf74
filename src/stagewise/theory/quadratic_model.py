"""One quadratic model of the losses at a checkpoint, and every exact law on it."""

from functools import cached_property

import numpy as np
from jaxtyping import Float

from stagewise.theory.arguments import check_gradients
from stagewise.theory.quadratic import (
    damped_influence,
    gradient_similarity,
    modal_law,
    prior_covariance,
)
from stagewise.theory.spectrum import ModalLaw, Spectrum, spectrum_of

__all__ = ["QuadraticModel"]

Array = np.ndarray


class QuadraticModel:
    """Second-order model l_i(d) = g_i^T d + 1/2 d^T A_i d of n losses at one checkpoint.

    The mean Hessian is diagonalised once; every Langevin law is diagonal there, so a further
    setting (nbeta, gamma, epsilon, friction) costs O(n P^2). Covariances are of losses, in nats^2;
    minus a covariance is the influence.
    """

    def __init__(
        self,
        gradients: Float[Array, "sample parameter"],
        hessians: Float[Array, "sample parameter parameter"],
    ) -> None:
        """Hold the derivatives; nothing is computed before it is asked for.

        Args:
            gradients: g_i at the checkpoint.
            hessians: A_i, symmetric.

        Raises:
            ValueError: If the shapes do not belong together.
        """
        check_gradients(gradients, hessians)
        self.gradients = gradients
        self.hessians = hessians

    @cached_property
    def mean_gradient(self) -> Float[Array, " parameter"]:
        """gbar, the gradient of the mean loss."""
        return self.gradients.mean(axis=0)

    @cached_property
    def mean_hessian(self) -> Float[Array, "parameter parameter"]:
        """H, the Hessian of the mean loss."""
        return self.hessians.mean(axis=0)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigendecomposition of the mean Hessian."""
        return spectrum_of(self.mean_hessian)

    @cached_property
    def _modal_derivatives(self) -> tuple[Array, Array]:
        """Gradients and Hessians of the losses in the eigenbasis of the mean Hessian."""
        vectors = self.spectrum.vectors
        return self.gradients @ vectors, vectors.T @ self.hessians @ vectors

    @property
    def smallest_eigenvalue(self) -> float:
        """lambda_min of the mean Hessian."""
        return float(self.spectrum.values[0])

    def is_local(self, n_beta: float, localization: float) -> bool:
        """Whether nbeta H + gamma I is positive definite, so that the law stays at w*."""
        return n_beta * self.smallest_eigenvalue + localization > 0

    def sgld_law(self, n_beta: float, localization: float, step_size: float) -> ModalLaw:
        """Stationary law of full-gradient SGLD: see ``quadratic.sgld_law``."""
        return modal_law(self.mean_gradient, self.spectrum, n_beta, localization, step_size)

    def sgld_law_at(
        self, n_beta: float, localization: float, step_size: float, steps: int
    ) -> ModalLaw:
        """Law of full-gradient SGLD after ``steps`` steps: see ``quadratic.sgld_law_at``."""
        return modal_law(
            self.mean_gradient, self.spectrum, n_beta, localization, step_size, steps=steps
        )

    def underdamped_law(
        self, n_beta: float, localization: float, step_size: float, friction: float
    ) -> ModalLaw:
        """Stationary law of underdamped dynamics: see ``quadratic.underdamped_law``."""
        return modal_law(
            self.mean_gradient, self.spectrum, n_beta, localization, step_size, friction=friction
        )

    def recentred_law(
        self, n_beta: float, localization: float, step_size: float, friction: float = 1.0
    ) -> ModalLaw:
        """Stationary law on the recentred potential: see ``quadratic.recentred_law``."""
        still = np.zeros_like(self.mean_gradient)
        return modal_law(still, self.spectrum, n_beta, localization, step_size, friction=friction)

    def loss_covariance(self, law: ModalLaw) -> Float[Array, "sample sample"]:
        """Covariance of the losses under a law of this model: ``quadratic_loss_covariance``."""
        gradients, hessians = self._modal_derivatives
        shifted = gradients + hessians @ law.mean
        deviation = np.sqrt(law.variance)
        linear = shifted * deviation
        curved = (hessians * np.outer(deviation, deviation)).reshape(len(hessians), -1)
        return linear @ linear.T + 0.5 * curved @ curved.T

    def mean_excess_losses(self, law: ModalLaw) -> Float[Array, " sample"]:
        """E[l_i(w)] - l_i(w*) = g_i . mu + 1/2 mu^T A_i mu + 1/2 tr(A_i S)."""
        gradients, hessians = self._modal_derivatives
        diagonal = np.einsum("ipp->ip", hessians)
        return (
            gradients @ law.mean
            + 0.5 * (hessians @ law.mean) @ law.mean
            + 0.5 * diagonal @ law.variance
        )

    def llc(self, n_beta: float, law: ModalLaw) -> float:
        """Local learning coefficient nbeta (E[L(w)] - L(w*)), mean shift included."""
        return float(n_beta * self.mean_excess_losses(law).mean())

    def prior_covariance(self, localization: float) -> Float[Array, "sample sample"]:
        """Covariance under N(w*, I / gamma): see ``quadratic.prior_covariance``."""
        return prior_covariance(self.gradients, self.hessians, localization)

    def damped_influence(self, n_beta: float, localization: float) -> Float[Array, "sample sample"]:
        """Influence of the leading Laplace term: see ``quadratic.damped_influence``."""
        return damped_influence(
            self.gradients, self.mean_hessian, n_beta, localization, spectrum=self.spectrum
        )

    def gradient_similarity(self, localization: float) -> Float[Array, "sample sample"]:
        """Influence as gamma grows: see ``quadratic.gradient_similarity``."""
        return gradient_similarity(self.gradients, localization)
