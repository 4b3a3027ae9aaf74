"""Every problem is what an adapter expects of it."""

import numpy as np
import pytest
import torch

from stagewise.conformance.problem import CONTINUUM, Law
from stagewise.conformance.problems.by_name import PROBLEMS, problem
from stagewise.errors import ConfigError


@pytest.mark.parametrize("name", PROBLEMS)
def test_losses_batch_differentiate_and_match_the_module(name: str) -> None:
    chosen = problem(name)
    assert chosen.name == name
    w = chosen.checkpoint + 0.1 * torch.randn(
        5, len(chosen.checkpoint), generator=torch.Generator().manual_seed(0)
    )
    found = torch.vmap(chosen.losses)(w)
    assert found.shape == (5, chosen.sample_count)
    alone = torch.stack([chosen.losses(one) for one in w])
    torch.testing.assert_close(found, alone)
    some = torch.tensor([chosen.sample_count - 1, 0])
    torch.testing.assert_close(chosen.losses(w[0], some), alone[0, some])
    gradient = torch.func.grad(lambda one: chosen.losses(one).mean())(w[0])
    assert torch.isfinite(gradient).all()
    module = chosen.module()
    assert [n for n, _ in module.named_parameters()] == ["w"]
    np.testing.assert_allclose(
        module(chosen.data).detach().numpy(), chosen.reference(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_values_have_the_shape_of_the_features(name: str) -> None:
    chosen = problem(name)
    excess = np.random.default_rng(0).standard_normal((3, 4, chosen.sample_count))
    for check in chosen.checks:
        width = check.features(excess).shape[-1]
        exact = check.exact(CONTINUUM)
        assert exact is not None
        assert exact.shape == (width,) * (1 if check.statistic == "mean" else 2)
        assert np.isfinite(exact).all()
        for law in (Law("sgld"), Law("underdamped", 0.7), Law("explicit_momentum", 0.7)):
            known = check.exact(law)
            assert known is None or known.shape == exact.shape


@pytest.mark.parametrize("name", ["gaussian", "linear_regression", "damped_influence"])
def test_chain_laws_tend_to_the_target_as_the_step_shrinks(name: str) -> None:
    """Their steps are large on purpose: the discretisation shows, at least a twentieth."""
    chosen = problem(name)
    check = chosen.checks[-1]
    exact, chain = check.exact(CONTINUUM), check.exact(Law("sgld"))
    assert exact is not None
    assert chain is not None
    relative = np.linalg.norm(chain - exact) / np.linalg.norm(exact)
    assert 0.05 < relative < 0.5


def test_the_limit_of_damped_influence_leaves_out_less_than_a_hundredth() -> None:
    from stagewise.conformance.problems.quadratics import chain_law
    from stagewise.theory.quadratic_model import QuadraticModel

    chosen = problem("damped_influence")
    rows = chosen.data.numpy().astype(np.float64)
    model = QuadraticModel(rows[:, :4], rows[:, 4:].reshape(-1, 4, 4))
    law = chain_law(model, chosen.settings, CONTINUUM)
    assert law is not None
    whole = model.loss_covariance(law)
    limit = chosen.checks[0].exact(CONTINUUM)
    assert limit is not None
    assert np.linalg.norm(whole - limit) < 0.01 * np.linalg.norm(whole)


def test_the_double_wells_losses_are_those_of_the_theory() -> None:
    from stagewise.theory.mixture import DoubleWell

    chosen = problem("double_well")
    well = DoubleWell(n_beta=8.0, localization=0.5, barrier=0.2)
    w = np.linspace(-2, 2, 7)
    found = torch.vmap(chosen.losses)(torch.from_numpy(w)[:, None])
    np.testing.assert_allclose(found.numpy(), well.losses(w, 0.15), rtol=1e-6)


def test_an_unknown_problem_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match="gaussian, "):
        problem("gausian")
