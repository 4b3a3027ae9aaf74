"""Messages of the calibration settings, and the rows that a grid stands for.

Caught: a row that starts and fails for want of a setting, a grid whose cells differ in more than
what is swept, names that lead nowhere.
"""

import copy
import math
from typing import Any

import pytest
import yaml

from stagewise.config.base import parse
from stagewise.config.calibration import (
    CalibrationSettings,
    GoalSettings,
    GridSettings,
    RowSettings,
)
from stagewise.errors import ConfigError
from support.repository import ROOT

BY_HAND = {"n_beta": 100.0, "localization": 10.0, "step_size": 1e-3, "chains": 8, "draws": 20}
GRID = {
    "problem": "digits",
    "base": {"chains": 8, "draws": 20, "burn_in": 5, "spacing": 2},
    "n_beta": [1e3, 1e4],
    "damping": [0.01, 0.1, 1.0],
    "step": [0.5],
}


def default() -> dict[str, Any]:
    text = (ROOT / "config" / "default.yaml").read_text(encoding="utf-8")
    return copy.deepcopy(yaml.safe_load(text)["calibration"])


@pytest.mark.parametrize("missing", ["n_beta", "localization", "step_size", "draws"])
def test_a_row_by_hand_needs_all_its_settings(missing: str) -> None:
    row = {**BY_HAND, "kernel": "sgld"}
    del row[missing]
    with pytest.raises(ConfigError, match=f"a row that is not calibrated needs {missing}"):
        parse(RowSettings, row)


def test_a_calibrated_row_needs_its_chains_alone() -> None:
    row = parse(RowSettings, {"calibrated": True, "chains": 8})
    assert (row.n_beta, row.draws) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "baoab"}, "kernel 'baoab' needs a friction"),
        ({"kernel": "sgld", "friction": 0.5}, "kernel 'sgld' takes no friction"),
        ({"kernel": "mala"}, "kernel"),
        ({"kernel": "baoab", "friction": 1.5}, "friction"),
        ({"kernel": "sgld", "chains": 7}, "chains"),
        ({"kernel": "sgld", "batch_size": -1}, "batch_size"),
        ({"kernel": "sgld", "step_size": 0.0}, "step_size"),
        ({"kernel": "sgld", "n_draws": 3}, "n_draws"),
    ],
)
def test_rows_that_cannot_run_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(RowSettings, BY_HAND | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"batch_sizes": []}, "batch_sizes"), ({"batch_sizes": [-1]}, "batch_sizes"),
     ({"pilot_chains": 4}, "pilot_chains"), ({"bias": 1.0}, "bias")],
)  # fmt: skip
def test_goals_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(GoalSettings, default()["goal"] | change)


def test_a_grid_is_every_combination_and_a_calibrated_row() -> None:
    rows = parse(GridSettings, GRID).rows("wide")
    assert list(rows)[0] == "wide_calibrated"
    assert len(rows) == 1 + 2 * 3
    assert rows["wide_calibrated"].calibrated
    assert not any(row.calibrated for name, row in rows.items() if name != "wide_calibrated")
    cell = rows["wide_120"]
    assert (cell.n_beta, cell.localization) == (1e4, 1e4 * 1.0)
    assert cell.step_size == 0.5 / 1e4
    assert len({(row.n_beta, row.localization) for row in rows.values()}) == len(rows)


def test_cells_have_the_schedule_of_the_grid_and_critical_friction() -> None:
    for row in parse(GridSettings, GRID).rows("wide").values():
        assert (row.chains, row.draws, row.burn_in, row.spacing) == (8, 20, 5, 2)
        if not row.calibrated:
            rate = row.step_size * row.localization / 2
            assert row.friction == pytest.approx(1 - math.exp(-2 * math.sqrt(rate)))
    fixed = GRID | {"base": GRID["base"] | {"friction": 0.3}}
    cells = parse(GridSettings, fixed).rows("wide")
    assert {row.friction for row in cells.values()} == {0.3}


@pytest.mark.parametrize("axis", ["n_beta", "damping", "step"])
def test_a_grid_without_an_axis_is_refused(axis: str) -> None:
    with pytest.raises(ConfigError, match=axis):
        parse(GridSettings, GRID | {axis: []})


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("rows", {"nothing": {}}, r"no problems are called \['nothing'\]"),
        ("grids", {"wide": GRID | {"problem": "absent"}}, r"no problems are called \['absent'\]"),
        ("estimators", {"full": "absent"}, r"estimators name no rows: \['absent'\]"),
    ],
)
def test_names_must_lead_somewhere(place: str, value: dict[str, Any], message: str) -> None:
    settings = default()
    parse(CalibrationSettings, settings)
    settings[place] = settings[place] | value
    with pytest.raises(ConfigError, match=message):
        parse(CalibrationSettings, settings)
