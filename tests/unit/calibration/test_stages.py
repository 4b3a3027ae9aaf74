"""The stages on one problem, at tiny size and in this process.

Caught: a stage that reads another's file wrongly, a row that ignores its calibration or its budget,
a provenance without an input, an unstable cell that ends a sweep, a gate that lets it pass.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stagewise.calibration import settings as calibration_file
from stagewise.cli import (
    problem_calibrate,
    problem_exact,
    problem_sample,
    problem_table,
    problem_train,
)
from stagewise.evaluation.calibration import QUANTITIES
from stagewise.storage import netcdf, scores

PROBLEM = {
    "data": "cancer",
    "train": 40,
    "queries": 8,
    "hidden": [3],
    "steps": 60,
    "batch_size": 20,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "damping": 0.1,
}
GOAL = {"locality": 0.5, "bias": 0.9, "reliability": 0.5, "pilot_chains": 8, "batch_sizes": [0, 10]}
ABOUT = {"seed": 3, "name": "small", "problem": PROBLEM}
BY_HAND = {
    "kernel": "sgld",
    "potential": "plain",
    "n_beta": 1000.0,
    "localization": 100.0,
    "step_size": 1e-4,
    "chains": 8,
    "burn_in": 5,
    "draws": 12,
    "spacing": 2,
}
LIMITS = {
    "stride": 1,
    "rhat": {"warn": 1.5, "fail": 100.0},
    "ess": {"warn": 1.0, "fail": 0.01},
    "false_alarm": {"warn": 1e-6, "fail": 1e-30},
}
ESTIMATORS = dict.fromkeys(("full", "minibatch", "control_variate"), "by_hand")


class Folder:
    """Where the stages read and write; each is run by its command line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, stage: object, settings: dict, **flags: Path | list[Path]) -> int:
        arguments = ["--settings", json.dumps(settings)]
        for name, value in flags.items():
            values = value if isinstance(value, list) else [value]
            arguments += [f"--{name}", *map(str, values)]
        return stage.main(arguments)

    def sample(self, row: dict, name: str, **more: Path) -> int:
        return self(
            problem_sample,
            ABOUT | {"row_name": name, "row": row},
            checkpoint=self.path / "checkpoint.nc",
            exact=self.path / "exact.nc",
            scratch=self.path / "scratch",
            out=self.path / f"{name}.nc",
            **more,
        )

    def table(self, rows: list[str], **settings: object) -> int:
        return self(
            problem_table,
            {"problems": ["small"], "estimators": ESTIMATORS, "diagnostics": LIMITS} | settings,
            rows=[self.path / f"{row}.nc" for row in rows],
            calibrations=[self.path / "calibration.json"],
            exact=[self.path / "exact.nc"],
            table=self.path / "rows.csv",
            numbers=self.path / "numbers.json",
            search=self.path / "search.csv",
        )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    run = Folder(tmp_path_factory.mktemp("problem"))
    checkpoint, calibration = run.path / "checkpoint.nc", run.path / "calibration.json"
    assert run(problem_train, ABOUT, out=checkpoint) == 0
    assert run(problem_exact, ABOUT, checkpoint=checkpoint, out=run.path / "exact.nc") == 0
    goal = ABOUT | {"goal": GOAL, "chains": 8}
    assert run(problem_calibrate, goal, checkpoint=checkpoint, out=calibration) == 0
    assert run.sample(BY_HAND, "by_hand") == 0
    row = {"calibrated": True, "chains": 8, "draws": 12, "burn_in": 40}
    assert run.sample(row, "calibrated", calibration=calibration) == 0
    lost = BY_HAND | {"step_size": 1.0, "kernel": "underdamped", "friction": 1.0}
    assert run.sample(lost, "lost") == 0
    return run


def test_training_lowers_the_loss(done: Folder) -> None:
    found = netcdf.read(done.path / "checkpoint.nc").attrs
    assert found["train_loss"] < np.log(2) / 2
    assert found["query_accuracy"] > 0.6
    assert found["gradient_norm"] > 0


def test_scores_have_permanent_ids_and_name_all_their_inputs(done: Folder) -> None:
    exact = scores.read(done.path / "exact.nc")
    for name, inputs in (
        ("by_hand", {"checkpoint", "exact"}),
        ("calibrated", {"checkpoint", "exact", "calibration"}),
    ):
        found = scores.read(done.path / f"{name}.nc")
        assert found["sample"].values.tolist() == exact["sample"].values.tolist()
        assert all(one.startswith("cancer") for one in found["query"].values.tolist())
        assert set(json.loads(found.attrs["provenance"])["inputs"]) == inputs
        assert len(found.attrs["data_hash"]) == len(found.attrs["settings_hash"]) == 64


def test_a_calibrated_row_has_the_settings_of_the_file_and_its_own_budget(done: Folder) -> None:
    chosen = calibration_file.read(done.path / "calibration.json")
    found = scores.read(done.path / "calibrated.nc").attrs
    assert found["step_size"] == chosen.step_size
    assert found["batch_size"] == (chosen.batch_size or 0)
    assert found["n_beta"] * PROBLEM["damping"] == pytest.approx(found["localization"])
    cost = 2 * chosen.batch_size if chosen.batch_size else 40
    spent = cost * (chosen.burn_in + found["n_draws"] * chosen.spacing)
    budget = 40 * (40 + 12)  # of the row, were it by hand
    assert spent <= budget or found["n_draws"] == 8
    assert spent + cost * (chosen.spacing + 1) > budget
    assert found["n_chains"] == 8


def test_an_unstable_run_agrees_with_nothing_and_ends_nothing(done: Folder) -> None:
    found = scores.read(done.path / "lost.nc")
    assert found.attrs["chains_dropped"] == 8
    assert found.attrs["agreement"] == found.attrs["reliability"] == 0
    assert all(np.isnan(float(found[f"diagnosed_{name}"])) for name in QUANTITIES)


def test_tables_have_a_row_for_each_run_and_what_was_tried(done: Folder) -> None:
    assert done.table(["by_hand", "calibrated", "lost"]) == 0
    rows, search = (pd.read_csv(done.path / f"{name}.csv") for name in ("rows", "search"))
    assert rows["row"].tolist() == ["by_hand", "calibrated", "lost"]
    np.testing.assert_allclose(rows["damping"], 0.1)
    assert set(search["phase"]) == {"locality", "step"}
    assert (search[search["chosen"]].groupby("phase").size() >= 1).all()
    numbers = json.loads((done.path / "numbers.json").read_text())
    text = json.dumps(numbers)
    assert "sampling.calibration.small.calibrated.agreement" in text
    assert "sampling.calibration.small.chosen.n_beta" in text


def test_a_calibrated_run_that_lost_its_chains_passes_no_gate(
    done: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = scores.read(done.path / "lost.nc")
    scores.write(lost.assign_attrs(experiment="problem/small/calibrated"), done.path / "gone.nc")
    assert done.table(["by_hand", "gone"]) == 2
    assert "gates failed" in capsys.readouterr().err


def test_a_calibrated_row_without_its_file_is_refused(
    done: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert done.sample({"calibrated": True, "chains": 8}, "none") == 2
    assert "needs --calibration" in capsys.readouterr().err
