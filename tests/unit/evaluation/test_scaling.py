"""Costs put together from parts, power laws, and where they meet.

Caught: a part left out or counted twice; a phase multiplied by blocks that doesn't grow with them;
natural for decimal logarithms; an error of a slope that is of the points; a crossing read off lines
that noise alone tells apart, or far from what was measured.
"""

from typing import Any

import numpy as np
import pytest

from stagewise.config.base import parse
from stagewise.config.scaling import ScalingSettings, jobs
from stagewise.errors import ConfigError, SchemaError
from stagewise.evaluation.gpu import device_of, gpu_numbers, merged
from stagewise.evaluation.scaling import (
    crossing,
    fit,
    protocol_memory,
    protocol_seconds,
    scaling_numbers,
    scaling_rows,
)

SHAPE = {"layers": 4, "width": 8, "heads": 2, "vocabulary": 10}
CONTENT: dict[str, Any] = {
    "protocol": {
        "train": 10, "queries": 5, "length": 4, "at_once": 2, "chains": 3, "burn_in": 7,
        "draws": 11, "batch": 2, "n_beta": 1.0, "localization": 1.0, "step_size": 1e-3,
        "query_batch": 2,
    },
    "measure": {"steps": 2, "draws": 1},
    "shapes": {name: SHAPE for name in ("a", "b", "c")},
    "sizes": ["a", "b", "c"],
    "whole": {"ekfac": ["a"]},
    "data": {"size": "a", "train": [10, 20]},
    "crossing_errors": 2.0,
    "crossing_decades": 3.0,
}  # fmt: skip


@pytest.fixture
def settings() -> ScalingSettings:
    return parse(ScalingSettings, CONTENT)


def chains(parameters: int = 100, scale: float = 1.0, train: int = 10) -> dict[str, Any]:
    return {
        "method": "bif",
        "parameters": parameters,
        "train": train,
        "blocks": 4,
        "setup": 5.0 * scale,
        "step": 2.0 * scale,
        "draw": 0.5 * scale,
        "memory_mb": 9.0 * scale,
    }


def factors(parameters: int = 100, scale: float = 1.0, train: int = 10) -> dict[str, Any]:
    return {"method": "ekfac", "parameters": parameters, "train": train, "blocks": 4,
            "plain": 1.0 * scale, "plain_mb": 3.0 * scale, "covariances": 1.5 * scale,
            "eigenvectors": 2.0 * scale, "eigenvalues": 1.25 * scale, "scores": 1.7 * scale,
            "memory_mb": 4.0 * scale}  # fmt: skip


def test_chains_cost_steps_and_draws(settings: ScalingSettings) -> None:
    """5 + 3 (18 * 2 + 11 * 0.5) by hand."""
    assert protocol_seconds(chains(), settings.protocol) == pytest.approx(129.5)
    assert protocol_memory(chains()) == 9.0


def test_factors_cost_what_grows_with_blocks_and_what_does_not(settings: ScalingSettings) -> None:
    """3 + 8 + 2 + 9.6 s and 3 + 4 * 1 MB.

    Covariances 1 + 4 * 0.5, eigenvectors 4 * 2, eigenvalues 1 + 4 * 0.25; scores three batches of
    queries, each a pass of 1.2 and 4 * 0.5.
    """
    assert protocol_seconds(factors(), settings.protocol) == pytest.approx(22.6)
    assert protocol_memory(factors()) == 7.0


def test_a_block_that_noise_makes_cheaper_than_none_costs_nothing(
    settings: ScalingSettings,
) -> None:
    cheap = factors() | {"covariances": 0.9}
    assert protocol_seconds(cheap, settings.protocol) == pytest.approx(22.6 - 2.0)


def test_a_power_law_is_found() -> None:
    line = fit([10, 100, 1000], [3 * x**1.5 for x in (10, 100, 1000)])
    assert line.slope == pytest.approx(1.5)
    assert line.intercept == pytest.approx(np.log10(3))
    assert line.slope_error < 1e-12
    assert (line.points, line.span) == (3, (1.0, 3.0))


def test_the_error_of_a_slope_is_that_of_least_squares() -> None:
    """Residuals 0.1, -0.2, 0.1 about slope 1 at 0, 1, 2: sqrt(0.06 / 1 / 2)."""
    line = fit([1, 10, 100], [10**0.1, 10**0.8, 10**2.1])
    assert line.slope == pytest.approx(1.0)
    assert line.slope_error == pytest.approx(np.sqrt(0.03))


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([1, 2], [1, 0]), ([1, 2], [1, float("nan")])])
def test_what_has_no_power_law_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(SchemaError, match="measure more sizes"):
        fit(x, y)


def test_two_laws_meet() -> None:
    """10 x and x^1.5 at x = 100."""
    one, other = fit([1, 10], [10, 100]), fit([1, 10], [1, 10**1.5])
    assert crossing(one, other, 2.0, 3.0) == pytest.approx(2.0)
    assert crossing(other, one, 2.0, 3.0) == pytest.approx(2.0)


def test_laws_that_errors_do_not_tell_apart_do_not_meet() -> None:
    noisy = fit([1, 10, 100], [10**0.1, 10**0.8, 10**2.1])  # 1.00 ± 0.17
    assert crossing(noisy, fit([1, 10, 100], [1, 10**1.2, 10**2.4]), 2.0, 9.0) is None
    assert crossing(noisy, noisy, 2.0, 9.0) is None


def test_a_meeting_far_from_the_sizes_is_not_named() -> None:
    one, other = fit([1, 10], [1e5, 1e6]), fit([1, 10], [1, 10**1.5])  # at 10^10
    assert crossing(one, other, 2.0, 3.0) is None
    assert crossing(one, other, 2.0, 9.0) == pytest.approx(10.0)


def measured() -> dict[str, dict[str, Any]]:
    """BIF grows as the parameters, EK-FAC as their square; they meet at 572.6 parameters."""
    found: dict[str, dict[str, Any]] = {}
    for size, scale in (("a", 1.0), ("b", 10.0), ("c", 100.0)):
        found[f"bif_{size}"] = chains(int(100 * scale), scale)
        found[f"ekfac_{size}"] = factors(int(100 * scale), scale**2)
    for train in (10, 20):
        found[f"bif_a_n{train}"] = chains(train=train)
        found[f"ekfac_a_n{train}"] = factors(train=train, scale=train / 10)
    return found | {"ekfac_a_whole": factors() | {"all": 45.2}}


def test_numbers_of_a_study(settings: ScalingSettings) -> None:
    found = scaling_numbers(measured(), settings)
    value = {key: entry["value"] for key, entry in found.items()}
    assert value["scaling.bif.exponent"] == pytest.approx(1.0)
    assert value["scaling.ekfac.exponent"] == pytest.approx(2.0)
    assert value["scaling.ekfac.memory_exponent"] == pytest.approx(2.0)
    assert value["scaling.bif.seconds.b"] == pytest.approx(1295.0)
    assert value["scaling.ekfac.eigenvectors_share.c"] == pytest.approx(8 / 22.6)
    assert value["scaling.crossing_found"] == 1
    wanted = np.log10(100 * 129.5 / 22.6)
    assert value["scaling.crossing_log10_parameters"] == pytest.approx(wanted)
    assert value["scaling.bif.data_exponent"] == pytest.approx(0.0)
    assert value["scaling.ekfac.whole_ratio.a"] == pytest.approx(2.0)
    assert value["scaling.protocol.train"] == 10
    rows = scaling_rows(found, "cpu")
    assert len(rows) == 2 * 2 * 3
    assert all(row["fitted"] == pytest.approx(row["cost"]) for row in rows)


def test_what_could_not_be_measured_is_left_out(settings: ScalingSettings) -> None:
    """Out of memory at the largest size."""
    few = {key: one for key, one in measured().items() if key != "ekfac_c"}
    found = scaling_numbers(few, settings)
    assert "scaling.ekfac.seconds.c" not in found
    assert found["scaling.ekfac.exponent"]["n"] == 2
    assert scaling_rows({}, "gpu") == []


def test_jobs_are_named_and_differ(settings: ScalingSettings) -> None:
    found = jobs(settings, 3)
    assert list(found)[:2] == ["bif_a", "ekfac_a"]
    assert set(found) == set(measured())
    assert found["ekfac_a_n20"].protocol.train == 20
    assert found["ekfac_a_whole"].whole
    with pytest.raises(ConfigError, match="no shapes are called"):
        parse(ScalingSettings, CONTENT | {"sizes": ["a", "b", "z"]})


def test_numbers_of_a_gpu(settings: ScalingSettings) -> None:
    """Ratios are quoted only where mean losses agree; a later run's entries are taken."""

    def rate(steps: float, mean: float) -> dict[str, float]:
        return {
            "chain_steps_per_second": steps,
            "mean_excess": mean,
            "mean_excess_error": 0.1,
        }

    first = {
        "environment": {"machine": {"device": "a GPU"}, "noise": {"numbers": 7, "why": "text"}},
        "throughput": {"mlp/stagewise": rate(1.0, 1.0), "mlp/vmap": rate(3.0, 1.1)},
        "scaling": measured(),
    }
    second = {
        "tests": {"pytest": {"output": "2 failed, 31 passed in 9s"}},
        "throughput": {"mlp/stagewise": rate(6.0, 1.0), "mlp/posteriors": rate(2.0, 9.0)},
        "models": {"pythia": {"seconds": 3.0}},
    }
    run = merged(first, second)
    found = {key: one["value"] for key, one in gpu_numbers(run, settings, 5.0).items()}
    assert found["gpu.mlp.vs_vmap"] == 2.0
    assert "gpu.mlp.vs_posteriors" not in found
    assert (found["gpu.tests.passed"], found["gpu.tests.failed"]) == (31, 2)
    assert (found["gpu.noise.numbers"], found["gpu.pythia.seconds"]) == (7, 3.0)
    assert "scaling.bif.exponent" in found
    assert device_of(run) == "a GPU"
    with pytest.raises(SchemaError, match="names no device"):
        device_of(second)
