"""Damped influence with the exact Gauss-Newton matrix.

Caught: a factor of n, a sign, the Fisher in place of the Gauss-Newton matrix, a damping added to
another matrix, chunks counted twice, gradients of the mean for those of samples.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stagewise.baselines import exact
from stagewise.baselines.exact import exact_influence, gauss_newton, sample_gradients
from stagewise.errors import ConfigError
from stagewise.models.mlp import MLPLoss

SAMPLES, FEATURES, CLASSES = 11, 4, 3


def problem(hidden: tuple[int, ...]) -> tuple[MLPLoss, Tensor]:
    """A network in float32 and a position in float64."""
    generator = torch.Generator().manual_seed(8)
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator)
    loss = MLPLoss(inputs, torch.arange(SAMPLES) % CLASSES, (FEATURES, *hidden, CLASSES), "tanh")
    w = torch.randn(loss.parameter_count, generator=generator, dtype=torch.float64)
    return loss, w


def forward(loss: MLPLoss, w: Tensor) -> Tensor:
    """Logits (sample, class), layer by layer, in the plainest words."""
    at, place = loss.inputs.double(), 0
    for depth, (before, after) in enumerate(zip(loss.widths, loss.widths[1:], strict=False)):
        weight = w[place : place + before * after].view(after, before)
        place += before * after
        at = (torch.tanh(at) if depth else at) @ weight.T + w[place : place + after]
        place += after
    return at


def test_it_is_the_hessian_of_softmax_regression() -> None:
    loss, w = problem(())

    def mean(w: Tensor) -> Tensor:
        return F.cross_entropy(forward(loss, w), loss.labels)

    hessian = torch.autograd.functional.hessian(mean, w)
    torch.testing.assert_close(gauss_newton(loss, w), hessian, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("chunk", [100, 4])
def test_it_is_the_sum_over_samples_of_jacobians_about_the_law_of_labels(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "CHUNK", chunk)
    loss, w = problem((5,))
    slopes = torch.autograd.functional.jacobian(lambda w: forward(loss, w), w)
    expected = torch.zeros(len(w), len(w), dtype=torch.float64)
    for p, slope in zip(forward(loss, w).softmax(-1), slopes, strict=True):
        expected += slope.T @ (torch.diag(p) - torch.outer(p, p)) @ slope / SAMPLES
    torch.testing.assert_close(gauss_newton(loss, w), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("chunk", [100, 4])
def test_gradients_are_those_of_single_samples(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "CHUNK", chunk)
    loss, w = problem((5, 4))

    def losses(w: Tensor) -> Tensor:
        return F.cross_entropy(forward(loss, w), loss.labels, reduction="none")

    expected = torch.autograd.functional.jacobian(losses, w)
    torch.testing.assert_close(sample_gradients(loss, w), expected, rtol=1e-11, atol=1e-13)


def test_influences_solve_the_damped_system() -> None:
    loss, w = problem((5,))
    queries = loss.with_data(loss.inputs[:4] + 0.5, loss.labels[:4])
    found = exact_influence(loss, queries, w, [0.3, 0.01])
    matrix = gauss_newton(loss, w)
    for damping, value in zip((0.3, 0.01), found.value, strict=True):
        inverse = torch.linalg.inv(matrix + damping * torch.eye(len(w), dtype=w.dtype))
        expected = -sample_gradients(queries, w) @ inverse @ sample_gradients(loss, w).T
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11)
    assert found.trace == pytest.approx(float(matrix.diagonal().sum()))


@pytest.mark.parametrize("hidden", [(), (5,)])
def test_a_duplicate_of_the_query_helps_it_most_for_its_size(hidden: tuple[int, ...]) -> None:
    """Of all samples' gradients, each over its own length, the query's own: Cauchy and Schwarz."""
    loss, w = problem(hidden)
    value = exact_influence(loss, loss, w, [0.05]).value[0].numpy()
    sizes = np.sqrt(-np.diag(value))
    scaled = value / np.outer(sizes, sizes)
    assert (np.diag(value) < 0).all()
    np.testing.assert_array_equal(scaled.argmin(axis=1), np.arange(SAMPLES))
    largest = int(sizes.argmax())
    assert value[largest].argmin() == largest


def test_strong_damping_leaves_the_similarity_of_gradients() -> None:
    loss, w = problem((5,))
    damping = 1e6
    value = exact_influence(loss, loss, w, [damping]).value[0]
    gradients = sample_gradients(loss, w)
    # The next term is smaller by the trace over the damping, 1e-5 here.
    torch.testing.assert_close(
        value, -gradients @ gradients.T / damping, rtol=1e-4, atol=1e-4 * float(value.abs().max())
    )


@pytest.mark.parametrize("dampings", [[], [0.0], [0.1, -1.0], [float("nan")]])
def test_dampings_must_be_positive(dampings: list[float]) -> None:
    loss, w = problem(())
    with pytest.raises(ConfigError, match="dampings must be positive"):
        exact_influence(loss, loss, w, dampings)


def test_a_matrix_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "MOST_PARAMETERS", 14)
    loss, w = problem(())
    with pytest.raises(ConfigError, match="15 parameters; .* 14 at most"):
        exact_influence(loss, loss, w, [0.1])
