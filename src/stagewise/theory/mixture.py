"""Two phases in one dimension: a double well whose loss covariances are exact by quadrature.

Sample i of n = k + 1 has the loss, in nats,

    l_i(w; c) = barrier (w^2 - 1)^2 + slope_i(c) w + offset_i,
    slope_i(c) = slopes[i] for i < k,    slope_k(c) = c tilt  (the driver, the last sample),

L(w; c) = sum_i weight_i l_i(w; c), the centre of localization is w* = 0, and

    U(w; c) = nbeta L(w; c) + (gamma / 2) w^2.

The control c in [-1, 1] moves mass from the phase w < 0 (at c = 1) to w > 0 (at c = -1). By the law
of total covariance, with pi the mass of the phase w > 0 and D_i = E[l_i | w > 0] - E[l_i | w < 0],

    Cov(l_i, l_j) = E[Cov(l_i, l_j | phase)] + pi (1 - pi) D_i D_j.

Within a phase all samples share the curvature, a positive covariance; between phases the slopes
decide, so two equal slopes peak near pi = 1/2 and two opposite slopes turn negative around it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import logsumexp, ndtr, softmax

from stagewise.theory.arguments import check_nonnegative, check_positive

__all__ = [
    "ChainCovariance",
    "DoubleWell",
    "PhaseCovariance",
    "exact_covariance",
    "sgld_covariance",
]

Array = np.ndarray

# The density is cut where it is e^-CUT of its maximum, far below the last digit.
CUT = 80.0
NODES_PER_PANEL = 16


@dataclass(frozen=True)
class DoubleWell:
    """The double well and the settings of its law.

    The defaults put a barrier of 2.5 nats between the wells of U at c = 0, a curvature of about 22
    in them (so the SGLD step 0.005 inflates variances by about 3%, and a chain changes phase every
    2,000 steps or so), and phase masses of 0.5 at c = 0 and 0.007 at the ends.

    Attributes:
        n_beta: Inverse temperature times n.
        localization: gamma.
        barrier: Height of every loss at w = 0 over w = 1 and -1, in nats.
        slopes: Slopes of the k samples that the control leaves alone, in nats.
        offsets: One for each of the k + 1 samples, in nats; None for zeros.
        weights: One for each of the k + 1 samples, above 0, of sum 1; None for equal weights.
        tilt: Slope of the driver at c = 1, in nats.
    """

    n_beta: float = 10.0
    localization: float = 1.0
    barrier: float = 0.3
    slopes: tuple[float, ...] = (0.12, 0.12, -0.12, -0.12)
    offsets: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None
    tilt: float = 1.5

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ValueError: If a setting is out of range.
        """
        for name in ("n_beta", "localization", "barrier"):
            check_positive(name, getattr(self, name))
        check_nonnegative("tilt", self.tilt)
        if not self.slopes or not np.isfinite(self.slopes).all():
            raise ValueError(f"slopes = {self.slopes}: at least one finite slope is needed")
        for name in ("offsets", "weights"):
            given = getattr(self, name)
            if given is not None and len(given) != self.sample_count:
                raise ValueError(
                    f"{name} has {len(given)} entries: it must have {self.sample_count}, one for"
                    " each slope and one for the driver, which is last"
                )
        check_positive("weights", self.sample_weights)
        if abs(self.sample_weights.sum() - 1) > 1e-12:
            raise ValueError(
                f"weights sum to {self.sample_weights.sum():.15g}: they must sum to 1; divide them"
                " by their sum"
            )

    @property
    def sample_count(self) -> int:
        """Number of samples n = k + 1, the driver included."""
        return len(self.slopes) + 1

    @property
    def sample_weights(self) -> Float[Array, " sample"]:
        """Weight of every sample in L."""
        if self.weights is None:
            return np.full(self.sample_count, 1 / self.sample_count)
        return np.asarray(self.weights, dtype=np.float64)

    @property
    def sample_offsets(self) -> Float[Array, " sample"]:
        """Offset of every loss, in nats."""
        if self.offsets is None:
            return np.zeros(self.sample_count)
        return np.asarray(self.offsets, dtype=np.float64)

    def sample_slopes(self, control: ArrayLike) -> Float[Array, "*control sample"]:
        """Slope of every loss at a control, in nats; the driver's is control * tilt.

        Args:
            control: c in [-1, 1], of any shape.

        Returns:
            Slopes, samples last.

        Raises:
            ValueError: If a control is out of range.
        """
        control = np.asarray(control, dtype=np.float64)
        wrong = ~(np.abs(control) <= 1)
        if wrong.any():
            raise ValueError(f"control = {control[wrong].flat[0]:g}: it must lie in [-1, 1]")
        slopes = np.empty((*control.shape, self.sample_count))
        slopes[..., :-1], slopes[..., -1] = self.slopes, control * self.tilt
        return slopes

    def losses(self, w: ArrayLike, control: ArrayLike) -> Float[Array, "*both sample"]:
        """Loss of every sample; w and control broadcast against each other.

        Args:
            w: Position.
            control: c in [-1, 1].

        Returns:
            Losses in nats, samples last.

        Raises:
            ValueError: If a control is out of range.
        """
        w = np.asarray(w, dtype=np.float64)[..., None]
        slopes = self.sample_slopes(control)
        return self.barrier * (w**2 - 1) ** 2 + slopes * w + self.sample_offsets

    def potential(self, w: ArrayLike, control: ArrayLike) -> Float[Array, "*both"]:
        """U(w; c), in nats.

        Args:
            w: Position.
            control: c in [-1, 1].

        Returns:
            Potential of the broadcast shape.

        Raises:
            ValueError: If a control is out of range.
        """
        w = np.asarray(w, dtype=np.float64)
        mean_loss = self.losses(w, control) @ self.sample_weights
        return np.asarray(self.n_beta * mean_loss + self.localization / 2 * w**2)

    def potential_gradient(self, w: ArrayLike, control: ArrayLike) -> Float[Array, "*both"]:
        """dU/dw = nbeta [4 barrier w (w^2 - 1) + sum_i weight_i slope_i(c)] + gamma w.

        Args:
            w: Position.
            control: c in [-1, 1].

        Returns:
            Gradient of the broadcast shape.

        Raises:
            ValueError: If a control is out of range.
        """
        w = np.asarray(w, dtype=np.float64)
        slope = self.sample_slopes(control) @ self.sample_weights
        mean_gradient = 4 * self.barrier * w * (w**2 - 1) + slope
        return np.asarray(self.n_beta * mean_gradient + self.localization * w)

    def reach(self) -> float:
        """A position beyond which the density is below e^-80 of its maximum at every control."""
        reach = 1.5
        while True:
            grid = np.linspace(-reach, reach, 401)
            rise = self.potential(reach * np.array([-1.0, 1.0])[:, None], [-1.0, 1.0])
            floor = self.potential(grid[:, None], [-1.0, 1.0]).min(axis=0)
            if (rise - floor).min() > CUT:
                return reach
            reach *= 1.1


class PhaseCovariance(NamedTuple):
    """Exact covariance of the losses and its two parts, in nats^2; minus it is the influence.

    Phases are ordered (w < 0, w > 0); ``mass`` is that of w > 0.
    """

    total: Float[Array, "*control sample sample"]
    within: Float[Array, "*control sample sample"]
    between: Float[Array, "*control sample sample"]
    mass: Float[Array, "*control"]
    phase_means: Float[Array, "*control phase=2 sample"]


class ChainCovariance(NamedTuple):
    """Covariance of the losses under the discrete chain, in nats^2, and the mass of w > 0."""

    total: Float[Array, "*control sample sample"]
    mass: Float[Array, "*control"]


def _half_line(well: DoubleWell) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on (0, reach); no panel is wider than the narrowest well."""
    reach = well.reach()
    sharpest = 12 * well.n_beta * well.barrier * reach**2 + well.localization
    panels = int(np.ceil(reach * np.sqrt(sharpest)))
    nodes, weights = np.polynomial.legendre.leggauss(NODES_PER_PANEL)
    half = reach / panels / 2
    centres = half * (2 * np.arange(panels) + 1)
    return (centres[:, None] + half * nodes).ravel(), np.tile(half * weights, panels)


def _moments(losses: Array, probability: Array) -> tuple[Array, Array]:
    """Mean (..., n) and covariance (..., n, n) of losses (..., node, n)."""
    mean = np.einsum("...wi,...w->...i", losses, probability)
    centred = losses - mean[..., None, :]
    weighted = (centred * probability[..., None]).swapaxes(-1, -2)
    return mean, weighted @ centred


def exact_covariance(control: ArrayLike, well: DoubleWell | None = None) -> PhaseCovariance:
    """Covariance of the losses under exp(-U), split by phase, by Gauss-Legendre quadrature.

    ``total`` is centred at the overall mean and so computed apart from the two parts; the law of
    total covariance total = within + between holds to rounding.

    Args:
        control: c in [-1, 1], of any shape.
        well: The double well; None for the default one.

    Returns:
        Total, within- and between-phase covariance, mass of the phase w > 0, means by phase.

    Raises:
        ValueError: If a control is out of range.
    """
    well = DoubleWell() if well is None else well
    control = np.asarray(control, dtype=np.float64)[..., None]
    right, weights = _half_line(well)
    nodes = np.stack([-right, right])
    losses = well.losses(nodes, control[..., None])
    log_density = np.log(weights) - well.potential(nodes, control[..., None])
    log_mass = logsumexp(log_density, axis=-1)
    mass = softmax(log_mass, axis=-1)
    phase_means, phase_covariances = _moments(losses, softmax(log_density, axis=-1))
    within = np.einsum("...p,...pij->...ij", mass, phase_covariances)
    gap = phase_means[..., 1, :] - phase_means[..., 0, :]
    spread = (mass[..., 0] * mass[..., 1])[..., None, None]
    between = spread * gap[..., :, None] * gap[..., None, :]
    everywhere = (*control.shape[:-1], nodes.size)
    _, total = _moments(
        losses.reshape(*everywhere, well.sample_count),
        softmax(log_density.reshape(everywhere), axis=-1),
    )
    return PhaseCovariance(total, within, between, np.asarray(mass[..., 1]), phase_means)


def sgld_covariance(
    control: ArrayLike, step_size: float, well: DoubleWell | None = None
) -> ChainCovariance:
    """Covariance of the losses under the stationary law of SGLD itself, discretisation included.

    The density p of w' = w - (epsilon / 2) U'(w) + sqrt(epsilon) xi solves
    p(w') = int N(w'; w - (epsilon / 2) U'(w), epsilon) p(w) dw; on an even grid of spacing
    sqrt(epsilon) / 2 the trapezoidal rule is exact to rounding and p the null vector of a matrix.
    The mass of w > 0 is that after one more step, sum_w p(w) Phi(mean(w) / sqrt(epsilon)).

    Args:
        control: c in [-1, 1], of any shape.
        step_size: epsilon, above 0 and small enough for the chain to be stable on the grid.
        well: The double well; None for the default one.

    Returns:
        Covariance of the losses, and the mass of w > 0.

    Raises:
        ValueError: If a control is out of range or the step is too large.
    """
    check_positive("step_size", step_size)
    well = DoubleWell() if well is None else well
    reach = 1.2 * well.reach()
    nodes = np.linspace(-reach, reach, 2 * int(np.ceil(2 * reach / np.sqrt(step_size))) + 1)
    control = np.asarray(control, dtype=np.float64)
    mean = nodes - step_size / 2 * well.potential_gradient(nodes, control[..., None])
    if np.abs(mean).max() > reach:
        raise ValueError(
            f"step_size = {step_size:g}: a step from within |w| <= {reach:.3g} overshoots it, so"
            " the chain is not stable there; use a smaller step_size"
        )
    exponent = (nodes[:, None] - mean[..., None, :]) ** 2 / (2 * step_size)
    transition = np.exp(-exponent)
    transition /= transition.sum(axis=-2, keepdims=True)
    # One balance equation follows from the others: the total probability takes its place.
    balance = transition - np.eye(nodes.size)
    balance[..., 0, :] = 1.0
    total_is_one = np.zeros((*control.shape, nodes.size, 1))
    total_is_one[..., 0, 0] = 1.0
    probability = np.linalg.solve(balance, total_is_one)[..., 0]
    _, total = _moments(well.losses(nodes, control[..., None]), probability)
    mass = (probability * ndtr(mean / np.sqrt(step_size))).sum(axis=-1)
    return ChainCovariance(total, np.asarray(mass))
