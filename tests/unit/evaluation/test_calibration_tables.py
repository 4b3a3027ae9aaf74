"""Tables and numbers of the calibration experiments.

Caught: a run under another problem's name, a damping that is γ, a row marked that was not chosen,
evidence that is lost, a grid that takes another's cells because its name begins alike, a gain that
is the ratio of seconds turned over.
"""

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.evaluation.calibration import (
    QUANTITIES,
    grid_summaries,
    identity,
    judged,
    row_table,
    search_table,
    summaries,
    variance_reduction,
)
from support.calibration_tables import CELLS, grid

ATTRS = {
    "kernel": "baoab",
    "potential": "recentred",
    "batch_size": 0,
    "n_beta": 1e4,
    "localization": 100.0,
    "step_size": 1e-4,
    "friction": 0.2,
    "n_chains": 16,
    "n_draws": 50,
    "agreement": 0.9,
    "agreement_se": 0.02,
    "halves": 0.8,
    "reliability": 0.94,
    "spread": 2.0,
    "spread_se": 0.1,
    "wall_seconds": 7.0,
    "chain_steps": 1000,
    "chains_dropped": 1,
    "null_entries": 30,
    "drift_entries": 6,
}


def run(problem: str, row: str, **more: object) -> xr.Dataset:
    diagnostics = {f"diagnosed_{name}": float(k) for k, name in enumerate(QUANTITIES)}
    experiment = f"problem/{problem}/{row}"
    return xr.Dataset(diagnostics, attrs=ATTRS | {"experiment": experiment} | more)


RUNS = [run("net", "calibrated"), run("net", "by_hand", agreement=0.5), run("flat", "calibrated")]
CALIBRATION = {
    "n_beta": 1e4,
    "localization": 100.0,
    "step_size": 1e-4,
    "friction": None,
    "draws": 50,
    "spacing": 2,
    "batch_size": None,
    "evidence": {"bias": 0.01, "acceptance": None, "local": True},
    "table": [
        {"phase": "locality", "n_beta": 1e3, "step_size": 1e-3, "batch_size": None},
        {"phase": "locality", "n_beta": 1e4, "step_size": 4e-4, "batch_size": None},
        {"phase": "step", "n_beta": 1e4, "step_size": 1e-4, "batch_size": 20},
        {"phase": "step", "n_beta": 1e4, "step_size": 2e-4, "batch_size": None},
        {"phase": "step", "n_beta": 1e4, "step_size": 1e-4, "batch_size": None},
    ],
}


def test_a_run_is_named_by_its_experiment() -> None:
    assert identity(RUNS[1]) == ("net", "by_hand")
    for wrong in ("toy/net/x", "problem/net", ""):
        with pytest.raises(SchemaError, match="pass the outputs of problem_sample"):
            identity(RUNS[1].assign_attrs(experiment=wrong))
    with pytest.raises(SchemaError, match="of no problem's run"):
        identity(xr.Dataset())


def test_each_run_is_a_row_with_settings_agreement_cost_and_diagnostics() -> None:
    rows = row_table(RUNS)
    assert rows[["problem", "row"]].to_numpy().tolist() == [
        ["net", "calibrated"],
        ["net", "by_hand"],
        ["flat", "calibrated"],
    ]
    assert set(rows["damping"]) == {0.01}
    assert rows["agreement"].tolist() == [0.9, 0.5, 0.9]
    for name in set(ATTRS) - {"localization", "null_entries", "drift_entries", "agreement"}:
        assert rows[name].tolist() == [ATTRS[name]] * 3
    assert rows["drift_max_z"].tolist() == [4.0] * 3


def test_what_was_chosen_is_marked_by_all_that_its_phase_chooses() -> None:
    found = search_table({"net": CALIBRATION})
    assert found["chosen"].tolist() == [False, True, False, False, True]
    assert set(found["problem"]) == {"net"}


def test_numbers_are_those_of_rows_and_evidence_and_leave_out_what_is_none() -> None:
    found = summaries(row_table(RUNS), {"net": CALIBRATION}, {"net": 3.5})
    assert found["net.by_hand.agreement"] == (0.5, 0.02, 16)
    assert found["flat.calibrated.reliability"].value == 0.94
    assert found["net.calibrated.seconds"].value == 7.0
    assert found["net.chosen.n_beta"].value == 1e4
    assert found["net.chosen.bias"].value == 0.01
    assert found["net.chosen.local"].value == 1.0
    assert not {"net.chosen.acceptance", "net.chosen.friction"} & set(found)
    assert found["net.exact.seconds"].value == 3.5


def test_a_grid_has_its_own_cells_alone() -> None:
    found = grid_summaries(grid(), {"net": "net", "net_wide": "net"})
    for name, (*cells, calibrated) in CELLS.items():
        assert found[f"{name}.calibrated"] == (calibrated, 0.02, 16)
        assert found[f"{name}.median"].value == pytest.approx(np.median(cells))
        assert found[f"{name}.best"].value == max(cells)
        assert found[f"{name}.best"].n == len(cells)
        assert found[f"{name}.of_best"].value == pytest.approx(calibrated / max(cells))
        assert found[f"{name}.of_best"].se == pytest.approx(0.02 / max(cells))
        assert found[f"{name}.better_cells"].value == sum(cell > calibrated for cell in cells)


@pytest.mark.parametrize(
    ("kept", "message"),
    [("calibrated", "0 cells and 1 calibrated"), (r"_00\d", "3 cells and 0 calibrated")],
)
def test_a_grid_that_is_not_whole_is_refused(kept: str, message: str) -> None:
    rows = grid()
    with pytest.raises(SchemaError, match=message):
        grid_summaries(rows[rows["row"].str.contains(kept)], {"net": "net"})


def test_gain_is_signal_over_noise_per_second_and_bias_the_ratio_of_traces() -> None:
    rows = pd.DataFrame(
        {
            "row": ["a", "b", "c"],
            "spread": [2.0, 2.2, 3.0],
            "spread_se": [0.02, 0.022, 0.03],
            "halves": [0.5, 0.5, 0.8],
            "wall_seconds": [10.0, 5.0, 10.0],
            "agreement": [0.7, 0.7, 0.6],
            "agreement_se": [0.01, 0.01, 0.01],
            "n_chains": [8, 8, 8],
        }
    )
    names = {"full": "a", "control_variate": "b", "minibatch": "c"}
    found = variance_reduction(rows, names)
    assert found["variance_reduction.control_variate.gain"].value == pytest.approx(2)
    assert found["variance_reduction.minibatch.gain"].value == pytest.approx(4)
    assert found["variance_reduction.full.bias"].value == 0
    bias = found["variance_reduction.minibatch.bias"]
    assert bias.value == pytest.approx(0.5)
    assert bias.se == pytest.approx(1.5 * math.sqrt(2) * 0.01)
    assert found["variance_reduction.minibatch.agreement"] == (0.6, 0.01, 8)


def test_calibrated_runs_are_judged_and_no_others() -> None:
    found = list(judged(RUNS))
    assert [problem for problem, *_ in found] == ["net", "flat"]
    _, values, null, drift = found[0]
    assert values == {name: float(k) for k, name in enumerate(QUANTITIES)}
    assert (null, drift) == (30, 6)
