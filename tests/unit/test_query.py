"""`stagewise query` ranks by influence in the right sense, with errors, and names what is near."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.cli import query
from stagewise.errors import ConfigError
from stagewise.evaluation.query import near_names, ranked
from stagewise.files import write_json
from stagewise.storage import scores, trace
from support.traces import make_trace

ITEMS = ["robin", "canary", "salmon", "oak", "rose"]


def made(value: np.ndarray, lead: tuple[str, ...] = (), **coords: object) -> xr.Dataset:
    return scores.from_arrays(
        value=value, se=np.full_like(value, 0.1), query=ITEMS[:2], sample=ITEMS, method="bif",
        lead=lead, coords=coords,
    )  # fmt: skip


VALUE = np.array([[-3.0, -1.0, 0.05, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0, 4.0]])


def test_negative_scores_help_and_are_shown_as_positive() -> None:
    """Catches the flipped sign, and zeros or the other sign filling up a list."""
    found = ranked(made(VALUE), "robin", top=2)
    assert found.helpful["sample"].tolist() == ["robin", "canary"]
    assert found.helpful["helps"].tolist() == [3.0, 1.0]
    assert found.harmful["sample"].tolist() == ["oak", "rose"]
    assert found.harmful["helps"].tolist() == [-2.0, -1.0]
    assert found.noise == pytest.approx(1 / 5)
    assert len(ranked(made(VALUE), "canary", top=9).helpful) == 0
    assert len(ranked(made(VALUE), "canary", top=9).harmful) == 4


def test_a_checkpoint_is_chosen_by_its_step() -> None:
    both = made(np.stack([VALUE, -VALUE]), ("checkpoint",), step=("checkpoint", [10, 500]))
    assert ranked(both, "robin", 1).harmful["sample"].tolist() == ["robin"]
    assert ranked(both, "robin", 1).step == 500
    assert ranked(both, "robin", 1, step=10).helpful["sample"].tolist() == ["robin"]
    with pytest.raises(ConfigError, match="no checkpoint is of step 11; the nearest are 10, 500"):
        ranked(both, "robin", 1, step=11)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("robbin", "no query is called 'robbin'; near it are robin"),
        ("CANARY", "near it are canary"),
        ("oak", "it is a sample, whose influence is known, but not asked about"),
        ("xyz", "there are 2, such as robin, canary"),
    ],
)
def test_an_unknown_id_names_what_is_near(item: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ranked(made(VALUE), item, 3)


def test_near_names_hold_the_word_or_look_like_it() -> None:
    names = ["held/A/DejaVuSans", "held/B/DejaVuSans", "train/A"]
    assert near_names("held/A/DejaVuSerif", names)[0] == "held/A/DejaVuSans"
    assert near_names("train", names) == ["train/A"]
    assert near_names("zzz", names) == []


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Scores of two experiments, and a trace in two blocks of chains of a third."""
    scores.write(made(VALUE), tmp_path / "toy/tree/bif/main/seed0.nc")
    scores.write(made(-VALUE), tmp_path / "toy/tree/bif/main/seed1.nc")
    other = scores.from_arrays(
        value=VALUE[:, :2], se=VALUE[:, :2] * 0, query=["digit 7", "digit 8"],
        sample=["a", "b"], method="bif",
    )  # fmt: skip
    scores.write(other, tmp_path / "calibration/digits/runs/calibrated.nc")
    losses = np.random.default_rng(0).normal(size=(8, 6, 3))
    whole = make_trace(losses, queries=losses[..., :1], query_ids=["held/A"])
    for first in (0, 4):
        path = tmp_path / f"vision/glyphs/traces/judged_chain{first}.nc"
        trace.write(whole.isel(chain=slice(first, first + 4)), path)
    return tmp_path


def ask(results: Path, *arguments: str) -> int:
    return query.main([*arguments, "--results", str(results)])


def test_experiments_are_searched_for_the_item(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(results, "--item", "digit 7") == 0
    assert "digit 7 in calibration/digits (bif)" in capsys.readouterr().out
    assert ask(results, "--item", "robin", "--top", "1") == 0
    out = capsys.readouterr().out
    assert "robin in toy/tree (bif)" in out
    assert "   1   robin          +3 ± 0.1  the query itself" in out
    assert "   1   oak          -2 ± 0.1" in out
    assert "canary" not in out


def test_of_several_settings_the_chosen_one_answers(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches the first of the settings, which nobody chose."""
    folder = results / "retraining/digits/scores"
    folder.mkdir(parents=True)
    for setting in (0, 1):
        shutil.copy(results / "toy/tree/bif/main/seed0.nc", folder / f"bif_{setting}.nc")
    asked = ["--item", "robin", "--experiment", "retraining/digits", "--results", str(results)]
    assert query.main(asked) == 0
    assert f"of {folder}/bif_0.nc" in capsys.readouterr().out
    write_json(folder.with_name("choice.json"), {"settings": {"bif": 1, "ekfac": 0}})
    assert query.main(asked) == 0
    assert f"of {folder}/bif_1.nc" in capsys.readouterr().out


def test_blocks_of_chains_are_one_run(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(results, "--item", "held/A", "--experiment", "vision/glyphs") == 0
    assert "held/A in vision/glyphs (bif)" in capsys.readouterr().out
    files = [str(path) for path in sorted(results.glob("vision/glyphs/traces/*"))]
    assert query.main(["--item", "held/A", "--trace", *files]) == 0
    path = str(results / "toy/tree/bif/main/seed1.nc")
    assert query.main(["--item", "robin", "--scores", path]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--item robbin", "no query of .* is called 'robbin'; near it are robin"),
        (
            "--item robin --experiment toy/tee",
            "no experiment 'toy/tee' under .*; there are toy/tree",
        ),
        ("--item robin --experiment a --scores b", "exclude each other"),
        ("--item robin --scores none.nc", "none.nc does not exist"),
        ("--item robin --top 0", "top is 0; allowed are 1"),
    ],
)
def test_what_cannot_be_answered_is_one_message(
    results: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert ask(results, *arguments.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)


def test_without_results_it_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, "--item", "robin") == 2
    assert "run `make paper`" in capsys.readouterr().err
