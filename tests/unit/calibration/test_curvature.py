"""Lanczos' quadrature of a spectrum that is known.

Caught: a lost factor of P or of the probes, eigenvalues from outside the spectrum, a recursion that
goes on into rounding noise, negative or vanishing curvature taken for something else.
"""

import numpy as np
import pytest
import torch

from stagewise.calibration.curvature import Curvature, measure
from stagewise.errors import ConfigError
from support.problems_quadratic import QuadraticLoss, with_spectrum

#: A few sharp directions, many flat ones, some of them downhill.
SPECTRUM = np.concatenate(
    [[9.0, 4.0, 2.5], np.geomspace(1.0, 1e-3, 57), -np.geomspace(0.1, 0.3, 4)]
)
PROBES = 6


@pytest.fixture(scope="module")
def found() -> Curvature:
    loss = with_spectrum(SPECTRUM)
    return measure(loss, loss.centre, iterations=24, probes=PROBES)


def test_extremes_are_found_from_inside(found: Curvature) -> None:
    """24 steps on 64 eigenvalues with gaps at both ends: those at the ends have converged."""
    assert 9.0 * (1 - 1e-9) < found.largest <= 9.0 * (1 + 1e-9)
    assert -0.3 * (1 + 1e-9) <= found.smallest < -0.3 * (1 - 1e-3)


@pytest.mark.parametrize("damping", [0.5, 5.0])
def test_sums_over_the_spectrum_are_within_the_noise_of_their_probes(
    found: Curvature, damping: float
) -> None:
    """The variance of P v'Bv, v uniform on the sphere, is 2 P/(P + 2) (Σ b² - (Σ b)²/P).

    Within five deviates of the mean over probes; a tenth of the trace is 1.3 of them.
    """
    cases = [
        (found.trace(), SPECTRUM),
        (found.effective_dimension(damping), SPECTRUM / (SPECTRUM + damping)),
    ]
    for value, terms in cases:
        size = len(terms)
        variance = 2 * size / (size + 2) * (np.square(terms).sum() - terms.sum() ** 2 / size)
        assert abs(value - terms.sum()) < 5 * np.sqrt(variance / PROBES)


def test_a_space_that_is_exhausted_gives_the_spectrum_itself() -> None:
    spectrum = np.array([3.0, 1.0, 0.25, -0.5])
    loss = with_spectrum(spectrum)
    found = measure(loss, loss.centre, iterations=24, probes=PROBES)
    np.testing.assert_allclose(found.nodes, [np.sort(spectrum)] * PROBES, atol=1e-9)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    assert found.effective_dimension(1.0) == pytest.approx(
        float(found.parameters * (found.weights * found.nodes / (1 + found.nodes)).sum() / PROBES)
    )


def test_a_spectrum_of_two_values_is_exhausted_by_two_steps() -> None:
    loss = with_spectrum([2.0] * 5 + [0.5] * 15)
    found = measure(loss, loss.centre)
    assert found.nodes.shape == (4, 2)
    np.testing.assert_allclose(found.nodes, [[0.5, 2.0]] * 4, rtol=1e-7)


def test_what_has_no_local_law_is_left_out_of_the_dimension(found: Curvature) -> None:
    nodes, weights = np.array([[-0.2, 1.0]]), np.array([[0.5, 0.5]])
    assert Curvature(nodes, weights, 10).effective_dimension(0.1) == pytest.approx(5 / 1.1)
    assert np.isfinite(found.effective_dimension(0.3))


def test_no_curvature_at_all_is_found_to_be_none() -> None:
    flat = QuadraticLoss(np.ones((3, 5)), np.zeros((3, 5, 5)))
    found = measure(flat, flat.centre)
    assert found.largest == pytest.approx(0, abs=1e-12)
    assert found.trace() == pytest.approx(0, abs=1e-12)


def test_float32_measures_what_float64_does() -> None:
    loss = with_spectrum(SPECTRUM)
    loss.gradients, loss.hessians = loss.gradients.float(), loss.hessians.float()
    found = measure(loss, loss.centre.float())
    # A difference of float32 gradients of size 1 over h = 0.06 is uncertain by 2e-6 or so.
    assert found.largest == pytest.approx(9.0, rel=1e-4)
    assert found.smallest == pytest.approx(-0.3, abs=1e-3)


def test_what_cannot_be_measured_is_refused() -> None:
    loss = with_spectrum(SPECTRUM)
    with pytest.raises(ConfigError, match="2 checkpoints"):
        measure(loss, loss.centre.expand(2, -1))
    for wrong in ({"iterations": 0}, {"probes": 0}):
        with pytest.raises(ConfigError, match="at least one of each"):
            measure(loss, loss.centre, **wrong)
    loss.hessians = torch.full_like(loss.hessians, torch.nan)
    with pytest.raises(ConfigError, match="not finite"):
        measure(loss, loss.centre)
