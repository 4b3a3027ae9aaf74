"""The double well: quadrature against other routes, the two identities, the peak and the flip."""

import dataclasses

import jaxtyping
import numpy as np
import pytest

from stagewise.theory.mixture import DoubleWell, exact_covariance, sgld_covariance

CONTROLS = np.linspace(-1, 1, 81)
SAME, OPPOSITE = (0, 1), (0, 2)


def by_even_grid(control: float, well: DoubleWell) -> tuple[np.ndarray, float]:
    """Covariance and mass of w > 0 by the trapezoidal rule, exact for a smooth decaying density."""
    w = np.linspace(-4, 4, 80_001)
    density = np.exp(-well.potential(w, control))
    density /= density.sum()
    losses = well.losses(w, control)
    centred = losses - density @ losses
    return (centred * density[:, None]).T @ centred, density[w > 0].sum() + density[
        w == 0
    ].sum() / 2


def test_losses_and_potential_by_hand() -> None:
    well = DoubleWell(
        n_beta=10.0, localization=3.0, barrier=0.5, slopes=(1.0, -2.0), offsets=(0.0, 4.0, 1.0),
        weights=(0.5, 0.25, 0.25), tilt=2.0,
    )  # fmt: skip
    # barrier (4 - 1)^2 = 4.5; slopes 1, -2 and 2 * 0.5; L = 0.5*6.5 + 0.25*4.5 + 0.25*7.5.
    np.testing.assert_allclose(well.losses(2.0, 0.5), [6.5, 4.5, 7.5], rtol=1e-15)
    assert well.potential(2.0, 0.5) == pytest.approx(62.5 + 6.0)


def test_gradient_is_the_derivative_of_the_potential() -> None:
    well, w = DoubleWell(), np.linspace(-2, 2, 9)
    rise = well.potential(w + 1e-5, 0.3) - well.potential(w - 1e-5, 0.3)
    np.testing.assert_allclose(well.potential_gradient(w, 0.3), rise / 2e-5, atol=1e-7)


@pytest.mark.parametrize(
    "well",
    [
        DoubleWell(),
        DoubleWell(n_beta=300.0, localization=0.1, slopes=(0.01,), tilt=0.02),
        DoubleWell(n_beta=0.1, localization=5.0, offsets=(1.0, 2.0, 3.0, 4.0, 5.0)),
        DoubleWell(slopes=(0.3, -0.1), weights=(0.2, 0.5, 0.3)),
    ],
    ids=["default", "cold", "one phase", "weighted"],
)
@pytest.mark.parametrize("control", [-1.0, 0.0, 0.37])
def test_quadrature_is_exact(well: DoubleWell, control: float) -> None:
    covariance, mass = by_even_grid(control, well)
    exact = exact_covariance(control, well)
    np.testing.assert_allclose(exact.total, covariance, rtol=1e-10, atol=1e-13)
    # The grid's own error at the edge w = 0 of the phase is its spacing squared.
    assert exact.mass == pytest.approx(mass, abs=1e-7)


def test_total_is_within_plus_between() -> None:
    exact = exact_covariance(CONTROLS)
    np.testing.assert_allclose(exact.within + exact.between, exact.total, atol=1e-15)
    gap = exact.phase_means[:, 1] - exact.phase_means[:, 0]
    spread = exact.mass * (1 - exact.mass)
    between = spread[:, None, None] * gap[:, :, None] * gap[:, None, :]
    np.testing.assert_allclose(exact.between, between, rtol=1e-12)


def test_controls_of_any_shape_agree_with_single_ones() -> None:
    many = exact_covariance(CONTROLS[:6].reshape(2, 3))
    one = exact_covariance(CONTROLS[4])
    assert many.total.shape == (2, 3, 5, 5)
    assert one.phase_means.shape == (2, 5)
    for whole, single in zip(many, one, strict=True):
        np.testing.assert_allclose(whole[1, 1], single, rtol=1e-13, atol=1e-16)


def test_mirrored_control_mirrors_the_phases() -> None:
    exact, swap = exact_covariance(CONTROLS), [2, 3, 0, 1, 4]
    np.testing.assert_allclose(exact.mass, 1 - exact.mass[::-1], atol=1e-14)
    mirrored = exact.total[::-1][:, swap][:, :, swap]
    np.testing.assert_allclose(exact.total, mirrored, atol=1e-15)


def test_equal_slopes_peak_at_the_transition() -> None:
    exact = exact_covariance(CONTROLS)
    same = exact.total[:, *SAME]
    peak = same.argmax()
    assert 0.35 < exact.mass[peak] < 0.65
    assert same[peak] > 2.5 * max(same[0], same[-1])
    assert same[CONTROLS == 0][0] > 0.95 * same[peak]
    assert (np.diff(same[:peak][-20:]) > 0).all()
    assert (np.diff(same[peak:][:20]) < 0).all()
    assert exact.between[:, *SAME].max() > 0.5 * same[peak]


def test_opposite_slopes_change_sign_around_the_transition() -> None:
    exact = exact_covariance(CONTROLS)
    opposite = exact.total[:, *OPPOSITE]
    assert opposite[CONTROLS == 0] < 0
    assert min(opposite[0], opposite[-1]) > 0
    assert np.count_nonzero(np.diff(np.sign(opposite))) == 2
    # Shared curvature is positive in every phase; the term between phases turns the sign.
    assert (exact.within[:, *OPPOSITE] > 0).all()
    assert (exact.between[:, *OPPOSITE] < 0).all()


def test_defaults_let_a_chain_change_phase() -> None:
    well = DoubleWell()
    w = np.linspace(0, 1.5, 1501)
    potential = well.potential(w, 0.0)
    assert 2 < potential[0] - potential.min() < 3
    exact, chain = exact_covariance(CONTROLS[::10]), sgld_covariance(CONTROLS[::10], 0.005)
    assert np.abs(chain.total - exact.total).max() < 0.03 * np.abs(exact.total).max()


def test_chain_law_approaches_the_exact_one_in_proportion_to_the_step() -> None:
    exact = exact_covariance(0.4)
    gaps, masses = [], []
    for step_size in (0.008, 0.004, 0.002):
        chain = sgld_covariance(0.4, step_size)
        gaps.append(np.abs(chain.total - exact.total).max())
        masses.append(abs(chain.mass - exact.mass))
    assert gaps[1] / gaps[0] == pytest.approx(0.5, abs=0.05)
    assert gaps[2] / gaps[1] == pytest.approx(0.5, abs=0.05)
    assert masses[2] / masses[1] == pytest.approx(0.5, abs=0.05)


def test_chain_law_in_one_quadratic_well_is_that_of_the_chain() -> None:
    # No barrier: d ~ N(0, 1 / (gamma (1 - epsilon gamma / 4))), losses slope * w.
    well = DoubleWell(n_beta=1e-9, localization=10.0, barrier=1e-9, slopes=(2.0, -3.0))
    chain = sgld_covariance(0.0, 0.1, well)
    expected = np.array([[4.0, -6.0], [-6.0, 9.0]]) / (10 * (1 - 0.25))
    np.testing.assert_allclose(chain.total[:2, :2], expected, rtol=1e-7)
    assert chain.mass == pytest.approx(0.5, abs=1e-8)


def test_chain_law_agrees_with_a_simulated_chain() -> None:
    well, control, step_size = DoubleWell(), 0.2, 0.02
    rng = np.random.default_rng(41)
    w = 0.5 * rng.standard_normal(30_000)
    slope = well.n_beta * 0.2 * control * well.tilt
    for _ in range(1_500):
        gradient = w * (4 * well.n_beta * well.barrier * (w * w - 1) + well.localization) + slope
        w += np.sqrt(step_size) * rng.standard_normal(w.size) - step_size / 2 * gradient
    chain = sgld_covariance(control, step_size, well)
    losses = well.losses(w, control)
    products = losses - losses.mean(axis=0)
    products = products[:, :, None] * products[:, None, :]
    error = products.std(axis=0) / np.sqrt(w.size)
    z = (products.mean(axis=0) - chain.total) / error
    # 16 numbers at |z| < 5.5: a false-fail rate of 6e-7. The phases relax in about 230 steps, so
    # what 1,500 leave of the start is e^-6.
    assert np.abs(z).max() < 5.5
    # What the test can see: the law without discretisation.
    exact = exact_covariance(control, well).total
    assert np.abs((products.mean(axis=0) - exact) / error).max() > 8
    mass = (w > 0).mean()
    assert abs(mass - chain.mass) < 5.5 * np.sqrt(mass * (1 - mass) / w.size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"barrier": 0.0}, "barrier = 0: .* above 0"),
        ({"n_beta": -1.0}, "n_beta = -1"),
        ({"localization": np.nan}, "localization = nan"),
        ({"tilt": -1.0}, "tilt = -1: .* at least 0"),
        ({"slopes": ()}, "at least one finite slope"),
        ({"weights": (0.5, 0.5)}, "weights has 2 entries: it must have 5"),
        ({"weights": (0.3, 0.3, 0.3, 0.3, 0.3)}, "weights sum to 1.5: .* divide them"),
        ({"offsets": (0.0,)}, "offsets has 1 entries: it must have 5"),
    ],
)
def test_wrong_settings_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DoubleWell(), **change)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_covariance(1.5), r"control = 1.5: it must lie in \[-1, 1\]"),
        (lambda: exact_covariance([0.0, np.nan]), "control = nan"),
        (lambda: sgld_covariance(0.0, 0.5), "step_size = 0.5: .* overshoots .* smaller step_size"),
        (lambda: sgld_covariance(0.0, 0.0), "step_size = 0: .* above 0"),
    ],
)
def test_wrong_arguments_are_named(call, message: str) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()
