"""The array-side stages of the language experiments, from files with a planted law.

Caught: blocks joined in the wrong order, signs turned, a pilot that is scored, a run in another's
place, tokens of another class, files of different runs taken together.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stagewise.cli import language_influence, language_stages, language_tables
from stagewise.config.token_classes import CLASSES
from stagewise.errors import SchemaError
from stagewise.evaluation.language_influence import by_checkpoint, layout_of
from stagewise.storage import class_gradients
from stagewise.storage import language_influence as influence_file
from support.language_files import (
    CHAINS,
    INDUCTION,
    LEFT,
    LENGTH,
    PART,
    RECORDED,
    RIGHT,
    STEPS,
    Files,
    a_corpus,
    a_trace,
    write_files,
)

#: Seed 9 is a pilot: trained, and not sampled.
CENTRES = {0: 500.0, 1: 620.0, 9: 560.0}
SCORED = (0, 1)
DIAGNOSTICS = {
    "stride": 6,
    "rhat": {"warn": 1.1, "fail": 2.0},
    "ess": {"warn": 50.0, "fail": 1.0},
    "false_alarm": {"warn": 1e-2, "fail": 1e-6},
}


class Made(NamedTuple):
    folder: Path
    files: Files
    influence: dict[int, Path]

    def stages(self) -> dict[str, Any]:
        return json.loads((self.folder / "stages.json").read_text())

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"tables/{name}.csv")

    def numbers(self) -> dict[str, Any]:
        return json.loads((self.folder / "numbers.json").read_text())


def strings(*values: object) -> list[str]:
    return [str(value) for value in values]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All three stages, one after the other, as the workflow calls them."""
    folder = tmp_path_factory.mktemp("language")
    files = write_files(folder, "triggers", CENTRES)
    settings = {"seed": 1, "name": "triggers", "bootstrap": 40}
    flags = ["--settings", json.dumps(settings), "--corpus", str(files.corpus)]
    flags += ["--training", *strings(*files.training)]
    flags += ["--out", str(folder / "stages.json"), "--table", str(folder / "stages.csv")]
    assert language_stages.main(flags) == 0
    found = Made(folder, files, {seed: folder / f"influence{seed}.nc" for seed in SCORED})
    for seed, path in found.influence.items():
        assert language_influence.main(influence_flags(files, seed, path)) == 0
    flags = ["--settings", json.dumps({"seed": 1, "main": "triggers", "bootstrap": 40})]
    flags += ["--stages", str(folder / "stages.json"), "--measures", str(folder / "stages.csv")]
    flags += ["--influence", *strings(*found.influence.values())]
    flags += ["--tables", str(folder / "tables"), "--numbers", str(folder / "numbers.json")]
    assert language_tables.main(flags) == 0
    return found


def influence_flags(files: Files, seed: int, out: Path) -> list[str]:
    settings = {"seed": 1, "name": "triggers", "run_seed": seed, "bootstrap": 40}
    settings |= {"diagnostics": DIAGNOSTICS}
    flags = ["--settings", json.dumps(settings), "--corpus", str(files.corpus)]
    flags += ["--traces", *strings(*files.traces[seed]), "--priors", *strings(*files.priors[seed])]
    return [*flags, "--gradients", str(files.gradients[seed]), "--out", str(out)]


def test_stages_are_dated_by_seed(made: Made) -> None:
    stages = made.stages()
    assert set(stages) == {str(seed) for seed in CENTRES}
    for seed, centre in CENTRES.items():
        transition = stages[str(seed)]["transition"]
        # The sequences are 30 and tokens 120: errors of some 10 steps.
        assert abs(transition["step"] - centre) < 5 * transition["se"] < 250
        assert transition["low"] < transition["step"] < transition["high"]
        assert 0 < stages[str(seed)]["bigram"]["step"] < 100


def test_measurements_have_errors_and_heads(made: Made) -> None:
    table = pd.read_csv(made.folder / "stages.csv")
    assert set(table["run"]) == {"triggers"}
    accuracy = table[(table["quantity"] == "accuracy") & (table["group"] == "induction")]
    assert (accuracy["se"] > 0).all()
    assert (table[table["quantity"] == "loss"]["value"] == 2.0).all()
    assert "layer 1 head 0" in set(table[table["quantity"] == "previous_token"]["group"])
    assert set(table["group"]).isdisjoint({"digit"})  # it has no tokens


@pytest.fixture(scope="module")
def influence(made: Made) -> xr.Dataset:
    return influence_file.read(made.influence[0])


def test_checkpoints_come_in_order_and_influence_in_the_bif_sense(influence: xr.Dataset) -> None:
    np.testing.assert_array_equal(influence["step"], STEPS)
    curve = -influence["influence"].values[:, INDUCTION, INDUCTION]
    assert STEPS[np.argmax(curve)] == 500
    assert curve.max() == pytest.approx(1.44, rel=0.35)  # 192 draws of a product: error 0.1
    sides = -influence["influence"].values[:, LEFT, RIGHT]
    assert sides[0] > 0 > sides[-1]


def test_prior_and_gradients_are_scaled_as_they_were_made(influence: xr.Dataset) -> None:
    ratio = (influence["prior"] / influence["influence"]).values[5, INDUCTION, INDUCTION]
    assert ratio == pytest.approx(0.25, rel=0.5)
    gradient = -influence["gradient"].values[5, INDUCTION, INDUCTION]
    assert gradient == pytest.approx(1.44, rel=0.05)


def test_classes_without_tokens_are_not_numbers(influence: xr.Dataset) -> None:
    digit = CLASSES.index("digit")
    assert influence["token_count"].values[digit] == 0
    assert influence["token_count"].values[PART] == RECORDED * LENGTH // 4
    for name in ("influence", "null_z", "gradient"):
        assert np.isnan(influence[name].values[:, digit]).all()
    assert np.isnan(influence["loss"].values[:, digit]).all()


def test_text_is_recorded_token_by_token(influence: xr.Dataset) -> None:
    square = influence["text_influence"].values
    assert square.shape == (3, 2, LENGTH, LENGTH)
    np.testing.assert_allclose(square, square.swapaxes(-1, -2))
    peak = square[1, 0, 3]  # an induction token
    classes = influence["text_class"].values[0]
    assert (peak[classes == INDUCTION] < -0.5).all()
    assert influence["text_step"].values.tolist() == [200, 500, 800]
    assert set(influence["text"].values.ravel()) <= {"a", " ", "\n", "("}


def test_diagnostics_are_sparse_where_they_cost(influence: xr.Dataset) -> None:
    assert np.isfinite(influence["rhat"]).values.tolist() == [i % 6 == 0 for i in range(len(STEPS))]
    known = influence["null_z"].values
    assert np.nanmax(np.abs(known)) < 6
    assert influence.attrs["n_chains"] == CHAINS
    assert influence.attrs["centring"] == "across"


def test_only_scored_seeds_are_in_the_tables(made: Made) -> None:
    for name in ("curves", "heat", "text", "scores", "llc", "cancel", "claims"):
        assert set(made.table(f"language_{name}")["seed"]) == set(SCORED)


def test_claims_find_what_was_planted(made: Made) -> None:
    claims = made.table("language_claims").set_index(["quantity", "group", "seed"])["value"]
    for seed in SCORED:
        assert claims["peak", "induction", seed] == pytest.approx(CENTRES[seed], abs=60)
        assert claims["sign_change", "left delimiter · right delimiter", seed] == 1
        assert claims["sign_change", "induction · induction", seed] == 0
    numbers = made.numbers()
    assert abs(numbers["language.influence.induction.peak_minus_transition"]["value"]) < 60
    assert numbers["language.influence.induction.shift_p"]["value"] < 0.2
    assert numbers["language.influence.sign_changes"]["value"] >= 1
    assert numbers["language.phases.induction.reverses"]["value"] == 1
    assert numbers["language.phases.delimiters.reverses"]["value"] == 0
    assert numbers["language.induction_accuracy.final"]["value"] == pytest.approx(0.85, abs=0.1)
    assert numbers["language.transition.step"]["n"] == len(SCORED)


def test_sums_lose_what_changes_its_sign(made: Made) -> None:
    table = made.table("language_cancel")
    bif = table[(table["method"] == "bif") & (table["seed"] == 0)].set_index(["first", "second"])
    assert bif["cancelled"]["left delimiter", "right delimiter"] > 0.5
    assert bif["cancelled"]["induction", "induction"] < 0.05
    assert bif["total"]["induction", "induction"] < 0  # helpful


def test_text_shows_blanks(made: Made) -> None:
    assert set(made.table("language_text")["text"]) <= {"a", "␣", "↵", "("}


def test_other_runs_carry_their_names(made: Made, tmp_path: Path) -> None:
    flags = ["--settings", json.dumps({"seed": 1, "main": "plain", "bootstrap": 40})]
    flags += ["--stages", str(made.folder / "stages.json")]
    flags += ["--measures", str(made.folder / "stages.csv")]
    flags += ["--influence", *strings(*made.influence.values())]
    flags += ["--tables", str(tmp_path), "--numbers", str(tmp_path / "numbers.json")]
    assert language_tables.main(flags) == 0
    keys = json.loads((tmp_path / "numbers.json").read_text())
    assert all(key.startswith("language.triggers.") for key in keys)


def test_a_training_without_stages_is_refused(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stages.json").write_text("{}")
    flags = ["--settings", json.dumps({"seed": 1, "main": "triggers", "bootstrap": 40})]
    flags += ["--stages", str(tmp_path / "stages.json")]
    flags += ["--measures", str(made.folder / "stages.csv")]
    flags += ["--influence", str(made.influence[0]), "--tables", str(tmp_path)]
    assert language_tables.main([*flags, "--numbers", str(tmp_path / "numbers.json")]) == 2
    assert "has no stages" in capsys.readouterr().err


def test_checkpoints_without_gradients_are_named(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = class_gradients.read(made.files.gradients[0]).isel(checkpoint=slice(2))
    path = tmp_path / "gradients.nc"
    class_gradients.write(short, path)
    flags = influence_flags(made.files, 0, tmp_path / "out.nc")
    flags[flags.index("--gradients") + 1] = str(path)
    assert language_influence.main(flags) == 2
    assert "steps [200, 300" in capsys.readouterr().err


def test_a_null_that_cannot_be_chance_ends_the_stage(
    made: Made, influence: xr.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shared = influence.assign(null_z=influence["null_z"] * 0 + 12.0)
    monkeypatch.setattr(language_influence, "influence_dataset", lambda *_: shared)
    assert language_influence.main(influence_flags(made.files, 0, tmp_path / "out.nc")) == 2
    assert not (tmp_path / "out.nc").exists()


def test_blocks_of_different_settings_are_not_joined() -> None:
    one = a_trace(500.0, range(4), STEPS[:2], 0)
    other = a_trace(500.0, range(4), STEPS[2:4], 0).assign_attrs(step_size=5e-5)
    with pytest.raises(SchemaError, match="step_size 5e-05"):
        by_checkpoint([one, other])
    with pytest.raises(SchemaError, match="two blocks"):
        by_checkpoint([one, one.isel(checkpoint=slice(1))])


def test_tokens_must_be_in_the_corpus() -> None:
    one = a_trace(500.0, range(4), STEPS[:2], 0)
    layout = layout_of(one.isel(checkpoint=0), a_corpus())
    assert layout.token_class[:4].tolist() == [LEFT, PART, RIGHT, INDUCTION]
    with pytest.raises(SchemaError, match="not all in the corpus"):
        layout_of(one, a_corpus().isel(sequence=slice(3)))
