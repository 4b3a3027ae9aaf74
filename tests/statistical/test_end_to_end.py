"""From losses to influence, loss kernel and local learning coefficient, through every layer.

Declared: each test fails wrongly with probability 1e-6 at most. With probability 1 - 1e-3 it
catches an influence off by a quarter of the product of the losses' standard deviations. Laws are
Gaussian and losses quadratic, so the spread of an estimate is exact, by fourth cumulants. One draw
per chain.
"""

from functools import cache

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from stagewise import api
from stagewise.estimators import diagnostics, influence, kernels, local_learning
from stagewise.estimators.gates import FAIL_RATE, familywise_z
from stagewise.sampling.kernels import sgld
from stagewise.sampling.records import Schedule
from stagewise.theory.quadratic import quadratic_loss_covariance, sgld_law
from stagewise.theory.quadratic_model import QuadraticModel
from support.problems import (
    MIDDLE,
    REGRESSION,
    REGRESSION_STEPS,
    SEED,
    TOY,
    Regression,
    Settings,
    potential_of,
    regression,
    regression_potential,
    sample,
    toy,
)
from support.problems_draws import Forms, forms_of, skewness_of_products, trace_of
from support.rejection import rejects
from support.statistics import Evidence, Rejected, replicates_for_mean, skewed_p

#: The skewness of a squared normal; other quadratics in Gaussians have less.
MOST_SKEWNESS = np.sqrt(8)


def chains_for(forms: Forms) -> int:
    """Chains that show a covariance off by a quarter of both standard deviations."""
    deviation = np.sqrt(forms.covariance.diagonal())
    spread = np.sqrt(forms.product_variance) / np.outer(deviation, deviation)
    return replicates_for_mean(0.25 / spread.max(), 2 * spread.size)


def add_covariance(
    evidence: Evidence,
    name: str,
    found: np.ndarray,
    forms: Forms,
    chains: int,
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> None:
    """Compares a covariance of all losses, or of some with others, with the exact one."""
    skewness = skewness_of_products(forms, np.random.default_rng(SEED))[part]
    z = (found - forms.covariance[part]) / np.sqrt(forms.estimate_variance(chains)[part])
    evidence.add(name, skewed_p(z, skewness, chains))


def add_coefficient(
    evidence: Evidence, trace: xr.Dataset, forms: Forms, n_beta: float, chains: int
) -> None:
    found = float(local_learning.llc(trace)["value"].squeeze())
    deviation = n_beta * np.sqrt(forms.covariance.mean() / chains)
    z = np.array((found - n_beta * forms.mean.mean()) / deviation)
    evidence.add("llc", skewed_p(z, np.array(MOST_SKEWNESS), chains))


@cache
def toy_at_middle() -> tuple[QuadraticModel, Forms]:
    model = toy().at(MIDDLE).model(0)
    law = sgld_law(model.mean_gradient, model.mean_hessian, *TOY)
    forms = forms_of(model, law)
    exact = quadratic_loss_covariance(model.gradients, model.hessians, law)
    np.testing.assert_allclose(forms.covariance, exact, rtol=1e-9)
    return model, forms


@rejects(
    "influence_sign_flipped",
    "sample_ids_shuffled",
    "quadratic_net_sums_losses",
    "localization_dropped",
    "llc_of_sum",
)
def test_influence_on_the_toy_in_mid_training() -> None:
    model, forms = toy_at_middle()
    net, chains = toy().at(MIDDLE), chains_for(forms)
    potential = potential_of(net.loss, net.loss.centre, TOY)
    result = sample(sgld.Kernel(TOY.step_size), potential, chains, Schedule(63, 1), "toy")
    trace = trace_of(result.excess_loss, TOY.n_beta)
    evidence = Evidence()
    value = influence.bif(trace)["value"].values[0]
    add_covariance(evidence, "bif", -value, forms, chains)
    add_coefficient(evidence, trace, forms, TOY.n_beta, chains)
    exact = model.llc(TOY.n_beta, model.sgld_law(*TOY))
    np.testing.assert_allclose(TOY.n_beta * forms.mean.mean(), exact, rtol=1e-9)
    evidence.judge()


class Standardised(nn.Module):
    """Linear regression on inputs that pass BatchNorm and dropout, both idle in eval mode."""

    def __init__(self, weight: np.ndarray, normalize: bool = False, drop: bool = False) -> None:
        super().__init__()
        size = len(weight)
        self.before = nn.Sequential()
        if normalize:
            self.before.append(nn.BatchNorm1d(size, affine=False, eps=0.05))
            self.before[-1].running_mean += 0.3
            self.before[-1].running_var *= 0.2
        if drop:
            self.before.append(nn.Dropout(0.5))
        self.last = nn.Linear(size, 1, bias=False)
        self.last.weight.data = torch.from_numpy(weight)[None]
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.before(inputs))[:, 0]


def half_square(output: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (output - target).square()


#: So localized that losses are nearly linear, and that 32 steps forget the start by e^-17.
SETTINGS = Settings(n_beta=20.0, localization=100.0, step_size=0.01)
STEPS = 32
SAMPLES = 5
IDS = ["e", "b", "d", "a", "c"]


@cache
def problem() -> Regression:
    return regression(samples=SAMPLES + 3, least_residual=2.0)


@cache
def seen() -> tuple[QuadraticModel, Forms]:
    """All eight points of a regression, of which the first five drive the chain."""
    model = problem().model
    drive = QuadraticModel(model.gradients[:SAMPLES], model.hessians[:SAMPLES])
    law = sgld_law(drive.mean_gradient, drive.mean_hessian, *SETTINGS)
    return drive, forms_of(model, law)


def sampled(model: nn.Module, inputs: np.ndarray, chains: int, settings: Settings) -> xr.Dataset:
    """A trace by the public function, the last three points as queries."""
    x, y = torch.from_numpy(inputs), torch.from_numpy(problem().targets)
    return api.sample_losses(
        model,
        half_square,
        (x[:SAMPLES], y[:SAMPLES]),
        **settings._asdict(),
        queries=(x[SAMPLES:], y[SAMPLES:]),
        sample_ids=IDS,
        query_ids=["x", "y", "z"],
        chains=chains,
        draws=1,
        burn_in=STEPS - 1,
        seed=SEED,
    )


def judge_module(model: nn.Module, inputs: np.ndarray) -> None:
    _, forms = seen()
    chains = chains_for(forms)
    trace = sampled(model, inputs, chains, SETTINGS)
    evidence = Evidence()
    kernel = kernels.loss_kernel(trace)["covariance"].sel(sample=IDS, partner=IDS)
    drive = Forms(*(array[:SAMPLES] for array in forms))
    add_covariance(evidence, "kernel", kernel.values, drive, chains)
    value = influence.bif(trace)["value"].sel(query=["x", "y", "z"], sample=IDS)
    part = slice(SAMPLES, None), slice(SAMPLES)
    add_covariance(evidence, "bif", -value.values, forms, chains, part)
    add_coefficient(evidence, trace, drive, SETTINGS.n_beta, chains)
    evidence.judge()


@rejects(
    "influence_sign_flipped",
    "missing_centring",
    "ids_reversed",
    "module_sums_losses",
    "localization_toward_zero",
    "beta_for_n_beta",
    "noise_shared_by_chains",
    "llc_without_n_beta",
)
def test_influence_through_the_public_function() -> None:
    judge_module(Standardised(problem().centre), problem().inputs)


@rejects("module_in_train_mode")
def test_batch_normalisation_is_frozen() -> None:
    """Inputs are such that the saved running statistics turn them into those of the regression."""
    model = Standardised(problem().centre, normalize=True)
    judge_module(model, 0.5 * problem().inputs + 0.3)


@rejects("module_in_train_mode")
def test_dropout_is_off() -> None:
    judge_module(Standardised(problem().centre, drop=True), problem().inputs)


@rejects("noise_half_shared", "noise_shared_by_chains")
def test_gates_let_independent_stationary_chains_pass() -> None:
    """Null and drift of a usual run stay below the gate that fails one run in a million."""
    potential = regression_potential(regression())
    schedule = Schedule(burn_in=REGRESSION_STEPS, draws=32, spacing=4)
    result = sample(sgld.Kernel(REGRESSION.step_size), potential, 16, schedule, "gates")
    trace = trace_of(result.excess_loss, REGRESSION.n_beta)
    null = np.abs(diagnostics.null_statistic(trace)["z"].values)
    drift = diagnostics.drift_statistic(trace)["z"].values
    limits = familywise_z(null.size, FAIL_RATE), familywise_z(drift.size, FAIL_RATE, sides=1)
    if null.max() > limits[0] or drift.max() > limits[1]:
        raise Rejected(f"null {null.max():.3g}, drift {drift.max():.3g}, allowed {limits}")
