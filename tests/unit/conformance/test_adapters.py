"""Adapters pass on what the problem says, in each library's own parametrisation."""

import importlib.util
import json
import math
from importlib.metadata import PackageNotFoundError
from typing import get_args

import numpy as np
import pytest
import torch

from stagewise.config.conformance import SamplerName
from stagewise.conformance.adapters import installed
from stagewise.conformance.adapters.by_name import sampler
from stagewise.conformance.problem import Problem
from stagewise.conformance.problems.by_name import problem
from stagewise.conformance.sampler import NotApplicable, Sampler, law_of, settings_of
from stagewise.errors import ConfigError

#: Deprecation notices of what posteriors builds on, dozens at its import.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

LIBRARIES = {"devinterp", "posteriors"}
NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name.partition("_")[0] in LIBRARIES
            and importlib.util.find_spec(name.partition("_")[0]) is None,
            reason="the library of this adapter is not installed",
        ),
    )
    for name in get_args(SamplerName)
]


@pytest.fixture(scope="module")
def small() -> Problem:
    return problem("gaussian").with_length(8, 3)


@pytest.mark.parametrize("name", NAMES)
def test_every_adapter_gives_losses_in_shape_and_repeats_itself(name: str, small: Problem) -> None:
    made = sampler(name, 0.7)
    assert isinstance(made, Sampler)
    assert made.name == name
    first, again, other = (made.sample(small, seed) for seed in (1, 1, 2))
    assert first.shape == (8, 3, small.sample_count)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
    assert len(np.unique(first[:, 0, 0])) == 8, "chains differ"
    assert json.dumps(dict(settings_of(made)))
    assert law_of(made).friction in (0.7, 1.0)


def test_mala_does_no_minibatches() -> None:
    with pytest.raises(NotApplicable, match="full gradients"):
        sampler("stagewise_mala", 0.7).sample(problem("linear_regression_minibatch"), 0)


@pytest.mark.parametrize("name", ["devinterp_sgld", "posteriors_baoa"])
def test_a_library_that_is_missing_is_named_with_its_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(distribution: str) -> str:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(installed, "version", missing)
    with pytest.raises(ConfigError, match=r"pip install stagewise\[bench\]"):
        sampler(name, 0.7)


def test_parametrisations_of_posteriors_make_the_same_steps() -> None:
    """The learning rate is e/2 for sgld, h = sqrt(e/2) for the others with friction f a step."""
    pytest.importorskip("posteriors")
    chosen, friction = problem("gaussian").with_length(8, 2), 0.6
    step = chosen.settings.step_size
    h = math.sqrt(step / 2)
    made = {name: sampler(f"posteriors_{name}", friction) for name in ("sgld", "sghmc", "baoa")}
    for one in made.values():
        one.sample(chosen, 0)
    assert made["sgld"].settings["lr"] == step / 2
    assert made["sghmc"].settings["lr"] * made["sghmc"].settings["alpha"] == pytest.approx(friction)
    kept = math.exp(-made["baoa"].settings["alpha"] * h)
    assert kept == pytest.approx(1 - friction)


def test_devinterp_takes_the_first_step_of_the_formula() -> None:
    """One chain step without burn-in from a displaced centre, its noise taken off."""
    pytest.importorskip("devinterp")
    from devinterp.optim import SGMCMC

    w = torch.nn.Parameter(torch.tensor([0.3, -0.2]))
    optimizer = SGMCMC.sgld([w], lr=0.02, nbeta=7.0, localization=3.0, noise_level=1.0)
    with torch.no_grad():
        w.add_(torch.tensor([0.1, 0.4]))  # away from where it was made: w - w_0
    w.grad = torch.tensor([0.5, -1.0])
    before = w.detach().clone()
    optimizer.step(noise_generator=torch.Generator().manual_seed(3))
    noise = torch.normal(0.0, 1.0, (2,), generator=torch.Generator().manual_seed(3))
    force = 7.0 * torch.tensor([0.5, -1.0]) + 3.0 * torch.tensor([0.1, 0.4])
    torch.testing.assert_close(w.detach(), before - 0.01 * force + math.sqrt(0.02) * noise)
