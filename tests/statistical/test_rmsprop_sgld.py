"""RMSProp-SGLD: its first step, the second moment it gathers, and its law once that is frozen.

Declared: each test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches a variance off by a factor 1.25 or 0.8 in one coordinate, and a mean off by 0.2 standard
deviations. V differs from chain to chain: each is compared with the law of its own.
"""

import numpy as np

from stagewise.sampling.kernels import rmsprop_sgld
from stagewise.theory.spectrum import stationary_variance
from support.problems import (
    Settings,
    advance,
    regression,
    regression_potential,
    streams_of,
)
from support.rejection import rejects
from support.statistics import Evidence, add_gaussian, noncentral_p, replicates_for_gaussian

DECAY, FLOOR = 0.99, 0.1
#: G is at most 1/c = 10: the step is so small that 10 e m < 4.
SETTINGS = Settings(n_beta=20.0, localization=10.0, step_size=0.006)


def drawn_after(steps: int, adapt_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Position less w*, and V, of every chain (chain, parameter)."""
    potential = regression_potential(regression(), SETTINGS)
    kernel = rmsprop_sgld.Kernel(SETTINGS.step_size, adapt_steps, DECAY, FLOOR)
    chains = replicates_for_gaussian(potential.loss.parameter_count)
    streams = streams_of(potential, chains, "rmsprop")
    start = kernel.init(potential, potential.centre[:, None].repeat(1, chains, 1))
    state = advance(kernel, potential, start, streams, range(steps))
    displacement = state.position[0] - potential.centre
    return displacement.numpy(), state.second_moment[0].numpy()


def first_step_law() -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of d after a step from w*, where V = (1 - r) g^2 for every chain."""
    slope = regression().model.mean_gradient
    scale = 1 / (np.sqrt((1 - DECAY) * slope**2) + FLOOR)
    drift = SETTINGS.step_size / 2 * SETTINGS.n_beta * slope
    return -scale * drift, SETTINGS.step_size * scale


@rejects("rmsprop_moment_after_use", "rmsprop_forgets_root", "rmsprop_sgld_noise_too_large")
def test_law_of_the_first_step() -> None:
    displacement, _ = drawn_after(1, adapt_steps=1)
    mean, variance = first_step_law()
    evidence = Evidence()
    add_gaussian(evidence, "d", displacement, mean, np.diag(variance))
    evidence.judge()


@rejects("rmsprop_moment_of_potential", "sum_for_mean")
def test_second_moment_gathered_in_two_steps() -> None:
    """V_2 - r V_1 = (1 - r) g(w_1)^2, and g(w_1) = gbar + H d_1 is Gaussian."""
    model = regression().model
    _, moment = drawn_after(2, adapt_steps=2)
    mean, variance = first_step_law()
    squares = (moment - DECAY * (1 - DECAY) * model.mean_gradient**2) / (1 - DECAY)
    slope = model.mean_gradient + model.mean_hessian @ mean
    spread = (model.mean_hessian**2) @ variance
    count = len(squares)
    evidence = Evidence()
    evidence.add("V", noncentral_p(squares.sum(axis=0) / spread, count, count * slope**2 / spread))
    evidence.judge()


@rejects(
    "rmsprop_noise_unscaled",
    "rmsprop_drift_unscaled",
    "rmsprop_sgld_noise_too_large",
    "rmsprop_sgld_drift_too_large",
    "localization_toward_zero",
)
def test_law_of_each_chain_given_its_frozen_moment() -> None:
    """With d = S u, S = sqrt(G), u is SGLD on the curvature S M S, whose law is known."""
    displacement, moment = drawn_after(64, adapt_steps=5)
    model = regression().model
    size = displacement.shape[1]
    curvature = SETTINGS.n_beta * model.mean_hessian + SETTINGS.localization * np.eye(size)
    mean = -np.linalg.solve(curvature, SETTINGS.n_beta * model.mean_gradient)
    root = np.sqrt(1 / (np.sqrt(moment) + FLOOR))
    assert root.std(axis=0).min() > 0  # every chain has its own
    values, vectors = np.linalg.eigh(root[:, :, None] * curvature * root[:, None, :])
    u = np.einsum("cp,cpk->ck", (displacement - mean) / root, vectors)
    variance = np.stack([stationary_variance(one, SETTINGS.step_size) for one in values])
    # The slowest mode of the slowest chain has relaxed by e^-7, so its variance by e^-14.
    assert ((1 - SETTINGS.step_size / 2 * values.min()) ** 59) < np.exp(-7)
    evidence = Evidence()
    add_gaussian(evidence, "u", u / np.sqrt(variance), np.zeros(size), np.eye(size))
    evidence.judge()
