"""The cached quadratic model against the plain functions, at the toy's size."""

import numpy as np
import pytest

from stagewise.theory import quadratic
from stagewise.theory.linear_net import loss_derivatives, strong_localization_covariance
from stagewise.theory.quadratic_model import QuadraticModel

N_BETA, GAMMA, EPSILON = 100.0, 400.0, 1e-4


@pytest.fixture(scope="module")
def derivatives() -> tuple[np.ndarray, np.ndarray]:
    """The toy's size: 8 items, 15 features, 16 hidden units, 368 parameters, off any minimum."""
    rng = np.random.default_rng(21)
    w1, w2 = 0.3 * rng.standard_normal((16, 8)), 0.3 * rng.standard_normal((15, 16))
    return loss_derivatives(w1, w2, rng.standard_normal((15, 8)))[1:]


@pytest.fixture(scope="module")
def model(derivatives) -> QuadraticModel:
    return QuadraticModel(*derivatives)


@pytest.mark.parametrize("name", ["sgld_law", "sgld_law_at", "underdamped_law", "recentred_law"])
def test_laws_and_covariances_are_those_of_the_plain_functions(model, derivatives, name) -> None:
    settings = {
        "sgld_law": (N_BETA, GAMMA, EPSILON),
        "sgld_law_at": (N_BETA, 1.0, EPSILON, 300),
        "underdamped_law": (N_BETA, GAMMA, EPSILON, 0.1),
        "recentred_law": (N_BETA, GAMMA, EPSILON, 0.5),
    }[name]
    derived = (model.mean_gradient, model.mean_hessian)
    plain = getattr(quadratic, name)(*derived[name == "recentred_law" :], *settings)
    law = getattr(model, name)(*settings)
    np.testing.assert_allclose(law.gaussian().mean, plain.mean, atol=1e-12)
    np.testing.assert_allclose(law.gaussian().covariance, plain.covariance, atol=1e-14)
    expected = quadratic.quadratic_loss_covariance(*derivatives, plain)
    covariance = model.loss_covariance(law)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > -1e-14


def test_other_covariances_are_those_of_the_plain_functions(model, derivatives) -> None:
    gradients = derivatives[0]
    pairs = (
        (model.prior_covariance(GAMMA), quadratic.prior_covariance(*derivatives, GAMMA)),
        (
            model.damped_influence(N_BETA, GAMMA),
            quadratic.damped_influence(gradients, model.mean_hessian, N_BETA, GAMMA),
        ),
        (model.gradient_similarity(GAMMA), -gradients @ gradients.T / GAMMA),
    )
    for found, expected in pairs:
        # Of an entry that cancels, the rounding is that of its terms, not of itself.
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14 * np.abs(expected).max())


def test_strong_localization_is_the_limit_of_the_law() -> None:
    rng = np.random.default_rng(22)
    w1, w2, target = (rng.standard_normal(shape) for shape in ((3, 4), (5, 3), (5, 4)))
    model = QuadraticModel(*loss_derivatives(w1, w2, target)[1:])
    strong = strong_localization_covariance(w1, w2, target, 1.0)
    gaps = []
    for gamma in (1e4, 1e5, 1e6):
        covariance = gamma * model.loss_covariance(model.sgld_law(10.0, gamma, 1e-3 / gamma))
        gaps.append(np.abs(covariance / (1 - 2.5e-4) ** -1 - strong).max())
    # The remainder falls as 1 / gamma.
    assert gaps[1] < gaps[0] / 8
    assert gaps[2] < gaps[1] / 8


def test_llc_is_the_mean_excess_loss(model) -> None:
    law = model.recentred_law(N_BETA, GAMMA, EPSILON)
    expected = quadratic.llc_quadratic(model.spectrum.values, N_BETA, GAMMA, EPSILON)
    assert model.llc(N_BETA, law) == pytest.approx(expected, rel=1e-10)


def test_mean_excess_losses_include_the_mean_shift(derivatives, model) -> None:
    gradients, hessians = derivatives
    law = model.sgld_law(N_BETA, GAMMA, EPSILON)
    mean, covariance = law.gaussian()
    expected = (
        gradients @ mean
        + 0.5 * np.einsum("p,ipq,q->i", mean, hessians, mean)
        + 0.5 * np.einsum("ipq,pq->i", hessians, covariance)
    )
    np.testing.assert_allclose(model.mean_excess_losses(law), expected, rtol=1e-9)


def test_a_law_is_local_above_the_negative_curvature(model) -> None:
    threshold = -N_BETA * model.smallest_eigenvalue
    assert threshold > 0
    assert model.is_local(N_BETA, threshold * 1.01)
    assert not model.is_local(N_BETA, threshold * 0.99)
    with pytest.raises(ValueError, match="raise localization by more than"):
        model.sgld_law(N_BETA, threshold * 0.99, EPSILON)


def test_all_settings_share_one_eigendecomposition(derivatives, monkeypatch) -> None:
    calls, decompose = [], np.linalg.eigh

    def counting(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(matrix.shape)
        return decompose(matrix)

    monkeypatch.setattr(np.linalg, "eigh", counting)
    model = QuadraticModel(*derivatives)
    for n_beta in (10.0, 100.0):
        for gamma in (400.0, 1000.0):
            model.loss_covariance(model.sgld_law(n_beta, gamma, EPSILON))
            model.loss_covariance(model.sgld_law_at(n_beta, gamma, EPSILON, 50))
            model.damped_influence(n_beta, gamma)
    assert calls == [(368, 368)]
