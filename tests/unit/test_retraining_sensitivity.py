"""The study of the Bayesian influence's settings: cells, what is sampled, what is compared.

Caught: cells of one axis that differ in more than that axis, a kernel or a step without its own
friction or at another share of what is stable, an early checkpoint that is sampled at the final
one, differences that are not paired or not of the same law, seconds without the calibration's.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from stagewise.calibration import settings as calibration_file
from stagewise.calibration.curvature import Curvature
from stagewise.calibration.settings import Calibration
from stagewise.cli.retraining_problem import load_problem, read_trained
from stagewise.cli.retraining_sensitivity import chosen_of, retraining_sensitivity
from stagewise.cli.retraining_targets import retraining_targets
from stagewise.cli.retraining_train import retraining_train
from stagewise.config.base import parse
from stagewise.config.retraining import ProblemStage, TargetStage, TrainStage
from stagewise.config.retraining_study import Cell, SensitivitySettings, cells
from stagewise.config.retraining_study_stages import SensitivityStage
from stagewise.errors import ConfigError, SchemaError
from stagewise.evaluation.bootstrap import LEVEL
from stagewise.evaluation.lds import lds, predicted, realised
from stagewise.evaluation.retraining_gap import COLUMNS
from stagewise.evaluation.retraining_sensitivity import (
    sensitivity_numbers,
    sensitivity_tables,
    speed_table,
)
from stagewise.evaluation.retraining_tables import Plan
from stagewise.storage import netcdf
from stagewise.storage.predictions import PREDICTIONS
from support.retraining_files import make_scores, make_targets, subsets
from support.retraining_tables import study_tables

HAND = {
    "sgld": {
        "kernel": "sgld",
        "n_beta": 1e3,
        "localization": 20.0,
        "step_size": 5e-4,
        "burn_in": 9,
        "spacing": 2,
    }
}
STUDY = {
    "problem": "tiny",
    "damping": 1.0,
    "n_beta": 1e5,
    "chains": 8,
    "draws": 10,
    "dampings": [1.0, 2.0],
    "n_betas": [1e4, 1e5],
    "steps": [0.5, 1.0],
    "budget_chains": [8, 16],
    "budget_draws": [8, 20],
    "kernels": ["sgld", "baoab"],
    "potentials": ["plain", "recentred"],
    "batch_sizes": [16],
    "by_hand": HAND,
    "replicas": 3,
    "replica_dampings": [1.0, 2.0],
    "replica_chains": 16,
    "replica_draws": 10,
    "cell_block": 4,
}
SAMPLED = {
    "goal": {
        "locality": 0.5,
        "bias": 0.5,
        "reliability": 0.5,
        "pilot_chains": 8,
        "batch_sizes": [0],
    },
    "damping": 1.0,
    "dampings": [1.0, 2.0, 3.0],
    "n_betas": [1e4, 1e5, 1e6],
    "chains": 8,
    "draws": 8,
}
FOUND = Calibration(
    kernel="baoab",
    step_size=1e-6,
    friction=0.5,
    n_beta=1e5,
    localization=1e5,
    potential="recentred",
    control_variate=False,
    batch_size=None,
    chains=64,
    burn_in=20,
    draws=100,
    spacing=3,
    evidence={"curvature_largest": 5.0, "seconds_spent": 100.0},
    table=(),
)


def study(**update: object) -> SensitivitySettings:
    return parse(SensitivitySettings, {**STUDY, **update})


def problem() -> dict:
    half = {"alpha": 0.5, "subsets": 3, "seeds": 2}
    recipe = {
        "kind": "descent",
        "steps": 8,
        "batch_size": 10,
        "learning_rate": 0.1,
        "momentum": 0.5,
        "weight_decay": 1e-3,
        "members": 1,
        "checkpoints": [2, 8],
    }
    return {
        "network": {"kind": "mlp", "hidden": [4]},
        "train": 80,
        "queries": 5,
        "recipe": recipe,
        "sets": {"scored_a50": {"role": "scored", **half}},
        "methods": ["bif"],
    }


def stage(*chosen: Cell) -> SensitivityStage:
    named = {"seed": 5, "name": "tiny", "problem": problem(), "sampled": SAMPLED}
    more = {"by_hand": HAND, "cells": [one.model_dump() for one in chosen]}
    return parse(SensitivityStage, {**named, **more})


def named(name: str) -> Cell:
    (one,) = [one for one in cells(study(), 2) if one.name == name]
    return one


def test_cells_of_an_axis_differ_in_it_alone() -> None:
    found = cells(study(), 3)
    assert len({one.name for one in found}) == len(found)
    free = {
        "grid": {"damping", "n_beta", "step"},
        "budget": {"chains", "draws"},
        "kernels": {"kernel", "potential"},
        "gradients": {"potential", "batch_size", "control_variate", "settings", "kernel"},
        "checkpoints": {"checkpoint"},
        "replicas": {"damping", "chains", "draws"},
    }
    base = named("checkpoint_0").model_dump(exclude={"name", "axis", "checkpoint"})
    counts = dict.fromkeys(free, 0)
    for one in found:
        counts[one.axis] += 1
        own = one.model_dump(exclude={"name", "axis", *free[one.axis]})
        assert {key: own[key] for key in own if key in base} == {
            key: base[key] for key in base if key in own
        }
    # Gradients: full of both potentials, and three kinds of minibatch, calibrated and by hand.
    wanted = {"grid": 8, "budget": 4, "kernels": 4, "gradients": 10, "checkpoints": 3}
    assert counts == {**wanted, "replicas": 6}


def test_the_base_cell_is_the_calibration_with_another_budget() -> None:
    one = chosen_of(stage(named("checkpoint_0")), FOUND, named("checkpoint_0"))
    for name in ("kernel", "n_beta", "localization", "potential", "spacing", "burn_in"):
        assert getattr(one, name) == getattr(FOUND, name)
    assert one.step_size == pytest.approx(FOUND.step_size)
    assert (one.chains, one.draws) == (8, 10)


@pytest.mark.parametrize(("name", "share"), [("kernels_sgld_plain", 0.5), ("grid_010", 0.5)])
def test_steps_are_shares_of_what_is_stable(name: str, share: float) -> None:
    """SGLD is stable up to half of BAOAB's step; the grid halves the step by itself."""
    one = chosen_of(stage(named(name)), FOUND, named(name))
    assert one.step_size == pytest.approx(share * FOUND.step_size)
    assert (one.burn_in, one.spacing) == (FOUND.burn_in, FOUND.spacing)
    if one.kernel == "sgld":
        assert one.friction is None
    else:
        rate = np.sqrt(0.5 * one.step_size * one.localization)
        assert one.friction == pytest.approx(1 - np.exp(-2 * rate))


def test_settings_by_hand_are_taken_as_they_are() -> None:
    cell = named("gradients_sgld_minibatch_plain_16")
    one = chosen_of(stage(cell), FOUND, cell)
    assert {name: getattr(one, name) for name in HAND["sgld"]} == HAND["sgld"]
    assert (one.batch_size, one.control_variate, one.potential) == (16, False, "plain")
    assert (one.chains, one.draws) == (8, 10)


def test_a_checkpoint_that_curves_down_is_damped_more() -> None:
    flat = Curvature(np.array([[-2.0, 5.0]]), np.array([[0.5, 0.5]]), 2)
    cell = named("checkpoint_1")
    one = chosen_of(stage(cell), FOUND, cell, flat)
    assert one.localization == pytest.approx(4.0 * one.n_beta)


def test_cells_are_sampled_where_they_say(tmp_path: Path) -> None:
    base = {"seed": 5, "name": "tiny", "problem": problem()}
    checkpoints, targets = tmp_path / "checkpoints.nc", tmp_path / "targets.nc"
    retraining_train(parse(TrainStage, {**base, "labels": "clean"}), checkpoints)
    retraining_targets(
        parse(TargetStage, {**base, "set_name": "scored_a50"}),
        tmp_path,
        targets,
        tmp_path / "models.nc",
    )
    calibration_file.write(FOUND, tmp_path / "calibration.json")
    chosen = [named(name) for name in ("checkpoint_0", "checkpoint_1", "budget_c8_d8")]
    out = tmp_path / "predictions.nc"
    flags = checkpoints, tmp_path / "calibration.json", targets, tmp_path
    retraining_sensitivity(stage(*chosen), *flags, out)
    found = netcdf.read(out, PREDICTIONS)
    assert found["cell"].values.tolist() == [one.name for one in chosen]
    assert found["prediction"].shape == (3, 3, 5)
    assert np.isfinite(found["prediction"].values).all()
    assert (found["seconds_all"].values >= 100.0).all()
    # 8 chains of 20 steps, then 8 draws of 3 steps and a forward pass.
    assert float(found["passes"][2]) == pytest.approx(8 * (20 + 24 + 8 / 3))
    given = read_trained(checkpoints, load_problem(parse(ProblemStage, base)), 5, tmp_path)
    assert not torch.equal(given.weights[0, 0], given.weights[0, 1])
    first, final = found["prediction"].values[:2]
    assert np.abs(first - final).max() > 0


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame, xr.Dataset, xr.Dataset]:
    """Tables of a study whose cells predict the truth with more and more noise."""
    found, targets = cells(study(), 2), make_targets("scored", subsets("scored"), 0.5)
    exact = predicted(make_scores("exact_ggn", 0), targets)
    rng = np.random.default_rng(3)
    noise = [0.1 * place * rng.standard_normal(exact.shape) for place in range(len(found))]
    predictions = exact + np.array(noise)
    predictions[0] = np.nan
    columns = {
        name: ("cell", np.full(len(found), value))
        for name, value in {
            "seconds": 2.0,
            "seconds_all": 5.0,
            "passes": 1.0,
            "damping": 1.0,
        }.items()
    }
    made = xr.Dataset(
        {
            "prediction": (("cell", "subset", "query"), predictions),
            "dropped": ("cell", np.zeros(len(found), int)),
            **columns,
        },
        coords={"cell": [one.name for one in found]},
    )
    plan = Plan(5, 100, LEVEL, 1)
    return *sensitivity_tables(found, made, targets, [2, 8], plan), made, targets


def test_scores_are_those_of_the_predictions(tables: tuple) -> None:
    scores, _, made, targets = tables
    for row in scores.itertuples(index=False):
        own = made["prediction"].sel(cell=row.name).values
        if row.name == "grid_000":
            assert np.isnan(row.value)
        else:
            assert row.value == pytest.approx(lds(realised(targets), own))
            assert row.low < row.value < row.high
    steps = scores[scores["axis"] == "checkpoints"]["optimiser_step"]
    assert steps.tolist() == [2, 8]


def test_minibatches_are_compared_with_the_full_gradient_of_the_same_law(tables: tuple) -> None:
    scores, gaps, *_ = tables
    value = scores.set_index("name")["value"]
    found = {row.difference: (row.first, row.second) for row in gaps.itertuples(index=False)}
    assert found["calibrated_minibatch_plain_16_less_full"] == (
        "gradients_calibrated_minibatch_plain_16",
        "gradients_calibrated_full_plain",
    )
    assert found["sgld_less_calibrated_full_plain"] == (
        "gradients_sgld_full_plain",
        "gradients_calibrated_full_plain",
    )
    # Three minibatches each of two settings, and two potentials by hand.
    assert len(found) == 8
    for row in gaps.itertuples(index=False):
        assert row.value == pytest.approx(value[row.first] - value[row.second])


def test_numbers_and_the_speed_of_all(tables: tuple) -> None:
    scores, gaps, *_ = tables
    cost = pd.DataFrame(
        {
            "problem": ["tiny", "other"],
            "method": ["ekfac", "trak"],
            "label": ["damping 1", ""],
            "seconds": [3.0, 1.0],
            "value": [0.5, 0.1],
            "se": [0.1, 0.1],
            "low": [0.3, 0.0],
            "high": [0.7, 0.2],
        }
    )
    speed = speed_table(scores, cost, "tiny")
    # The figures' tables have the columns of these.
    for name, made in (("retraining_sensitivity", scores), ("retraining_speed", speed)):
        assert set(made) == set(study_tables()[name])
    assert speed["method"].tolist() == ["ekfac", *["bif"] * 4]
    assert set(speed[speed["kind"] == "budget"]["seconds"]) == {5.0}
    numbers = sensitivity_numbers(scores, gaps, speed, pd.DataFrame(columns=list(COLUMNS)))
    start = "retraining.sensitivity."
    assert numbers[start + "grid.000"]["value"] is None
    assert numbers[start + "budget.c8_d20"]["n"] == 24
    assert numbers[start + "seconds.ekfac"] == {
        "value": 3.0,
        "se": None,
        "n": None,
        "unit": "s",
        "source": "retraining_sensitivity_table",
    }
    grid = scores[scores["axis"] == "grid"]["value"].dropna()
    assert numbers[start + "grid_min"]["value"] == pytest.approx(grid.min())
    assert numbers[start + "grid_max"]["n"] == 7


def test_a_cell_that_was_not_sampled_is_missed(tables: tuple) -> None:
    *_, made, targets = tables
    found = cells(study(), 2)
    with pytest.raises(SchemaError, match=r"no predictions of the cells \['grid_000'\]"):
        sensitivity_tables(
            found, made.isel(cell=slice(1, None)), targets, [2, 8], Plan(5, 100, LEVEL, 1)
        )


def test_settings_by_hand_say_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="needs a friction"):
        study(by_hand={"x": {**HAND["sgld"], "kernel": "baoab"}})
    with pytest.raises(ConfigError, match="budget_chains and budget_draws"):
        study(budget_chains=[4])
