"""Singular losses: the local learning coefficient at the (nbeta, gamma) of the chain.

The asymptotic coefficient (RLCT) is printed as the limit that it is; a chain at finite (nbeta,
gamma) is far below it and is never judged by it.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stagewise.conformance.problem import Check, Law, Problem, Settings, row_tensor
from stagewise.theory.plane_chain import even_sgld_moments
from stagewise.theory.singular import (
    LearningCoefficient,
    normal_crossing_llc,
    normal_crossing_rlct,
    reduced_rank_output,
    reduced_rank_rlct,
)

Array = np.ndarray


def normal_crossing() -> Problem:
    """Return the crossing of two lines, w_1^2 w_2^2."""
    settings = Settings(n_beta=1.0, localization=1.0, step_size=0.05, burn_in=150, spacing=2)
    return _crossing("normal_crossing", (1, 1), settings)


def normal_crossing_uneven() -> Problem:
    """Return w_1^2 w_2^4, whose learning coefficient is half of that of the even crossing."""
    settings = Settings(n_beta=0.1, localization=1.0, step_size=0.03, burn_in=200, spacing=2)
    return _crossing("normal_crossing_uneven", (1, 2), settings)


def reduced_rank() -> Problem:
    """Return reduced-rank regression at the zero map: 2 inputs, 2 hidden units, 2 outputs."""
    inputs = np.array([[1.2, 0.0], [-0.7, 0.0], [0.0, 0.9], [0.0, -0.4]])
    variances = np.square(inputs).mean(axis=0)
    settings = Settings(n_beta=4.0, localization=1.0, step_size=0.02, burn_in=300, spacing=3)
    output = reduced_rank_output(variances, 2, 2, settings.n_beta, settings.localization)
    means = 0.5 * np.square(inputs) @ output

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        first, second = w[:4].reshape(2, 2), w[4:].reshape(2, 2)
        return 0.5 * (rows @ first.T @ second.T).square().sum(-1)

    def exact(law: Law) -> Array | None:
        return means if law.name == "continuum" else None

    def coefficient(law: Law) -> Array | None:
        known = exact(law)
        return None if known is None else settings.n_beta * known.mean(keepdims=True)

    note = _limit(reduced_rank_rlct(2, 2, 2))
    checks = (
        Check("mean", "mean", exact),
        Check("learning_coefficient", "mean", coefficient, _scaled_mean(settings.n_beta), note),
    )
    title = "reduced-rank regression at the zero map"
    return Problem(
        "reduced_rank", title, loss, row_tensor(inputs), torch.zeros(8), settings, checks
    )


def _crossing(name: str, powers: tuple[int, int], settings: Settings) -> Problem:
    """Samples differ by a factor: l_i = c_i w_1^(2 k_1) w_2^(2 k_2), mean of c_i one."""
    factors = np.array([[0.5], [0.75], [1.25], [1.5]])
    n_beta, gamma = settings.n_beta, settings.localization
    one, two = powers

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        return rows[:, 0] * w[0] ** (2 * one) * w[1] ** (2 * two)

    def crossing(w: Array) -> Array:
        return w[:, 0] ** (2 * one) * w[:, 1] ** (2 * two)

    def potential(w: Array) -> Array:
        return n_beta * crossing(w) + gamma / 2 * np.square(w).sum(axis=1)

    def gradient(w: Array) -> Array:
        first = 2 * one * w[:, 0] ** (2 * one - 1) * w[:, 1] ** (2 * two)
        second = 2 * two * w[:, 0] ** (2 * one) * w[:, 1] ** (2 * two - 1)
        return n_beta * np.stack([first, second], axis=1) + gamma * w

    def exact(law: Law) -> Array | None:
        if law.name == "continuum":
            return np.array([normal_crossing_llc(powers, n_beta, gamma).value])
        if law.name != "sgld":
            return None
        found = even_sgld_moments(
            potential,
            gradient,
            lambda w: n_beta * crossing(w)[:, None],
            6.0 / np.sqrt(gamma),
            settings.step_size,
        )
        return found.mean

    note = _limit(normal_crossing_rlct(powers))
    check = Check("learning_coefficient", "mean", exact, _scaled_mean(n_beta), note)
    title = f"normal crossing w₁{_power(one)} w₂{_power(two)}"
    return Problem(name, title, loss, row_tensor(factors), torch.zeros(2), settings, (check,))


def _power(half: int) -> str:
    return {1: "²", 2: "⁴"}[half]


def _scaled_mean(n_beta: float) -> Callable[[Array], Array]:
    """Return the feature nbeta times the mean excess loss."""
    return lambda losses: n_beta * losses.mean(axis=-1, keepdims=True)


def _limit(found: LearningCoefficient) -> str:
    return f"limit as nβ grows: {found.threshold:g}, multiplicity {found.multiplicity}"
