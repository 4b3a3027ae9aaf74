"""Calibration of a linear regression, whose law is known at every setting that is tried.

Caught: a step that is stable by luck, a bias of half or twice its size, a temperature that is not
local, statistics of pilots that are off their law, a reliability that runs do not reach.

Random numbers enter through the pilots. Each mean is compared within five of its standard errors
from 256 independent chains; what is decided lies five errors away from another decision.
"""

import dataclasses
import math
from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
import torch

from stagewise.calibration import calibrate as module
from stagewise.calibration.calibrate import Goal, calibrate
from stagewise.calibration.pilot import Pilot
from stagewise.calibration.settings import Calibration
from stagewise.errors import ConfigError, DivergenceError
from stagewise.estimators.covariance import covariance
from stagewise.evaluation.answers import agreement
from stagewise.sampling.potential import Potential
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from support.problems import SEED, RegressionLoss, regression
from support.problems_quadratic import QuadraticLoss, with_spectrum

PROBLEM = regression(samples=40, parameters=12)
MODEL, LOSS = PROBLEM.model, RegressionLoss(PROBLEM)
CENTRE = torch.as_tensor(PROBLEM.centre)[None]
DAMPING, CHAINS = 0.3, 256
LARGEST = MODEL.spectrum.values[-1] + DAMPING
KERNELS = ("sgld", "underdamped", "baoab")
#: ε nβ (λ_max + δ) below which a kernel is stable; underdamped's at friction 1.
STABLE = {"sgld": 4.0, "underdamped": 4.0, "baoab": 8.0}


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Checks of types in every step cost more than the steps; one test below leaves them on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def found() -> dict[str, Calibration]:
    jaxtyping.config.update("jaxtyping_disable", True)
    goal = Goal(damping=DAMPING, bias=0.14, reliability=0.9, chains=16, pilot_chains=CHAINS)
    return {name: calibrate(LOSS, CENTRE, kernel=name, goal=goal, seed=SEED) for name in KERNELS}


def exact(kernel: str, n_beta: float, step_size: float) -> tuple[float, np.ndarray]:
    """The learning coefficient and the loss covariance of the chain that is run."""
    localization = DAMPING * n_beta
    friction = 1.0
    if kernel == "underdamped":
        friction = -math.expm1(-2 * math.sqrt(step_size * localization / 2))
    if kernel == "baoab":
        step_size = 1e-12  # exact at any step, as every law is at none
    law = MODEL.recentred_law(n_beta, localization, step_size, friction)
    return MODEL.llc(n_beta, law), MODEL.loss_covariance(law)


def exact_bias(kernel: str, n_beta: float, step_size: float, of: float) -> float:
    """The larger bias of learning coefficient and trace at a step, relative to ``of`` times it."""
    coarse, fine = (exact(kernel, n_beta, step) for step in (step_size, of * step_size))
    return max(coarse[0] / fine[0], np.trace(coarse[1]) / np.trace(fine[1])) - 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_statistics_of_every_pilot_of_the_step_are_those_of_its_law(
    found: dict[str, Calibration], kernel: str
) -> None:
    rows = [row for row in found[kernel].table if row["phase"] == "step"]
    assert len(rows) >= 2
    for row in rows:
        coefficient, spread = exact(kernel, row["n_beta"], row["step_size"])
        assert abs(row["llc"] - coefficient) < 5 * row["llc_se"]
        assert abs(row["spread"] - np.trace(spread)) < 5 * row["spread_se"]
        assert row["diverged"] == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_step_is_stable_and_the_largest_tried_whose_bias_is_small(
    found: dict[str, Calibration], kernel: str
) -> None:
    chosen = found[kernel]
    assert chosen.step_size * chosen.n_beta * LARGEST < STABLE[kernel]
    assert exact_bias(kernel, chosen.n_beta, chosen.step_size, 1e-9) < 0.14
    start = 0.5 * STABLE[kernel] / (chosen.n_beta * LARGEST)
    if kernel == "baoab":  # has no bias: the first step will do
        assert chosen.step_size == pytest.approx(start, rel=1e-6)
    if kernel == "sgld":
        assert exact_bias(kernel, chosen.n_beta, 2 * chosen.step_size, 1e-9) > 0.14
        assert chosen.step_size < start


def test_the_measured_bias_is_that_of_the_coarser_step_to_first_order(
    found: dict[str, Calibration],
) -> None:
    rows = [row for row in found["sgld"].table if row["bias"] is not None]
    for row in rows:
        expected = 2 * exact_bias("sgld", row["n_beta"], row["step_size"], 0.5)
        # The trace counts less its error, so that the larger of two may come out below itself.
        assert -7 * row["bias_se"] < row["bias"] - expected < 5 * row["bias_se"]
    assert rows[-1]["bias"] == found["sgld"].evidence["bias"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_temperature_is_the_highest_that_is_local(
    found: dict[str, Calibration], kernel: str
) -> None:
    chosen = found[kernel]
    rungs = [row for row in chosen.table if row["phase"] == "locality"]
    dimension = (MODEL.spectrum.values / (MODEL.spectrum.values + DAMPING)).sum()
    # With as many Lanczos steps as parameters only the probes' noise is left, a third at most.
    assert rungs[0]["n_beta"] == pytest.approx(dimension / 2, rel=0.4)
    np.testing.assert_allclose(np.diff(np.log10([row["n_beta"] for row in rungs])), 1)
    passed = [row["n_beta"] for row in rungs if (row["agreement"] or 0) >= 0.95]
    assert chosen.n_beta == passed[0]
    assert chosen.localization == pytest.approx(DAMPING * chosen.n_beta)
    wide, narrow = (exact("baoab", chosen.n_beta * k, 0.0)[1] for k in (1.0, 10.0))
    # The pilots' estimate of this is taken with equal random numbers, and low by their noise.
    assert agreement(centred(wide), centred(narrow)) > 0.95


def centred(matrix: np.ndarray) -> np.ndarray:
    return matrix - matrix.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("kernel", ["sgld", "baoab"])
def test_runs_are_as_reliable_as_was_predicted(found: dict[str, Calibration], kernel: str) -> None:
    """Eight runs scatter by 0.02 each; the pilot's own power is known to some tenth."""
    chosen = found[kernel]
    limit = exact(kernel, chosen.n_beta, chosen.step_size)[1]
    potential = Potential(
        LOSS, CENTRE, chosen.n_beta, chosen.localization, chosen.potential, chosen.control_variate
    )
    reached = []
    for seed in range(8):
        streams = NoiseStreams(
            seed, "replicate", chosen.chains, LOSS.parameter_count, dtype=torch.float64
        )
        losses = run(chosen.make_kernel(), potential, streams, chosen.schedule()).excess_loss
        assert losses is not None
        reached.append(agreement(covariance(losses[0], losses[0]).value, limit))
    predicted = chosen.evidence["reliability"]
    assert predicted == pytest.approx(0.9, abs=0.02)  # the goal, but for whole draws
    assert np.mean(reached) == pytest.approx(predicted, abs=0.035)


def test_a_budget_is_kept() -> None:
    goal = Goal(damping=DAMPING, bias=0.5, reliability=0.999, chains=8, pilot_chains=8)
    free = calibrate(LOSS, CENTRE, goal=goal)
    tight = calibrate(LOSS, CENTRE, goal=dataclasses.replace(goal, seconds=0.05), seed=0)
    assert tight.table == free.table  # one seed, one search: only the costs are of the moment
    assert tight.draws < free.draws
    assert tight.evidence["seconds"] <= 0.05 or tight.draws == 8
    assert tight.evidence["reliability"] < free.evidence["reliability"]


def test_batches_of_every_size_are_planned_and_the_cheapest_run_is_taken() -> None:
    jaxtyping.config.update("jaxtyping_disable", False)
    goal = Goal(damping=DAMPING, bias=0.9, locality=0.5, reliability=0.5, chains=8, pilot_chains=8)
    lines: list[str] = []
    chosen = calibrate(LOSS, CENTRE, batch_sizes=(None, 4), goal=goal, say=lines.append)
    assert {row["batch_size"] for row in chosen.table if row["phase"] == "step"} == {None, 4}
    assert chosen.control_variate == (chosen.batch_size is not None)
    assert any(line.startswith("curvature") for line in lines)
    assert any(line.startswith("step") for line in lines)


def test_influences_on_queries_count_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = RegressionLoss(PROBLEM._replace(inputs=PROBLEM.inputs[:3], targets=np.ones(3)))
    fly, pilots = module.fly, []

    def watched(*arguments: object, **options: object) -> Pilot:
        pilots.append(fly(*arguments, **options))
        return pilots[-1]

    monkeypatch.setattr(module, "fly", watched)
    goal = Goal(damping=DAMPING, bias=0.9, locality=0.5, chains=8, pilot_chains=8)
    chosen = calibrate(LOSS, CENTRE, queries=queries, goal=goal)
    assert {pilot.influence.shape for pilot in pilots} == {(3, 40)}
    assert chosen.evidence["snr_pilot"] in [pilot.snr for pilot in pilots]


@pytest.mark.parametrize("lowest", [-0.4, 0.001])
def test_a_damping_left_open_is_the_least_that_is_local_and_leaves_few_directions(
    lowest: float,
) -> None:
    spectrum = np.concatenate([np.geomspace(1e-2, 3.0, 25), [lowest]])
    loss = with_spectrum(spectrum, samples=60)
    curvature = module.measure(loss, loss.centre, iterations=26)
    damping = module._damping(curvature, Goal(), 60)
    few = curvature.effective_dimension
    assert damping >= -2 * lowest * (1 - 1e-6)
    assert few(damping) <= 6 * (1 + 1e-6)
    assert damping == pytest.approx(-2 * lowest, rel=1e-6) or few(0.99 * damping) > 6


def test_a_damping_leaves_few_directions_of_very_many() -> None:
    loss = with_spectrum(np.ones(50), samples=10)
    curvature = module.measure(loss, loss.centre)
    damping = module._damping(curvature, Goal(), 10)
    assert 50 / (1 + damping) == pytest.approx(1, rel=1e-6)


def test_a_damping_without_a_local_law_is_refused() -> None:
    loss = with_spectrum([2.0, 1.0, -0.2])
    with pytest.raises(ConfigError, match=r"smallest curvature of -0\.2.*twice as much \(0\.4\)"):
        calibrate(loss, loss.centre, goal=Goal(damping=0.19))


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(ConfigError, match="kernel 'mala' cannot be calibrated"):
        calibrate(LOSS, CENTRE, kernel="mala")
    with pytest.raises(ConfigError, match="batch_sizes is empty"):
        calibrate(LOSS, CENTRE, batch_sizes=())
    with pytest.raises(ConfigError, match="each must be at least 1"):
        calibrate(LOSS, CENTRE, batch_sizes=(None, 0))
    with pytest.raises(ConfigError, match="2 checkpoints"):
        calibrate(LOSS, CENTRE.expand(2, -1))
    flat = QuadraticLoss(np.ones((3, 5)), np.zeros((3, 5, 5)))
    with pytest.raises(ConfigError, match="no curvature at the checkpoint"):
        calibrate(flat, flat.centre)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chains": 7}, "at least 8 of each"),
        ({"pilot_chains": 7}, "at least 8 of each"),
        ({"locality": 1.0}, "locality is 1.0"),
        ({"bias": 0.0}, "bias is 0.0"),
        ({"reliability": 1.5}, "reliability is 1.5"),
        ({"damping": -1.0}, "damping is -1.0"),
        ({"seconds": 0.0}, "seconds is 0.0"),
    ],
)
def test_goals_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Goal(**wrong)


def test_losses_that_nothing_moves_are_refused() -> None:
    still = QuadraticLoss(np.zeros((3, 5)), np.zeros((3, 5, 5)))
    with pytest.raises(ConfigError, match="no query's influences rise above their null"):
        calibrate(still, still.centre, goal=Goal(damping=0.1, pilot_chains=8))


def test_chains_that_always_diverge_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fly = module.fly

    def crash(*arguments: object, **options: object) -> Pilot:
        return fly(*arguments, **options)._replace(diverged=3)

    monkeypatch.setattr(module, "fly", crash)
    monkeypatch.setattr(module, "MOST_HALVINGS", 2)
    with pytest.raises(DivergenceError, match="3 of 8 chains diverge at step_size"):
        calibrate(LOSS, CENTRE, goal=Goal(damping=DAMPING, pilot_chains=8))
