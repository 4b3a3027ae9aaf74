"""The stage that trains: an interrupted training goes on, and branches begin where it was.

Caught: a resumed run that loses measurements, weights, moments of the optimiser or the state that
branches go on from; and an arm that isn't the training outside its window.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.cli import language_train as stage
from stagewise.cli.language_branch import main as branch
from stagewise.config.token_classes import CLASSES
from stagewise.storage import corpus as corpus_file
from stagewise.storage import language_branch, language_training
from stagewise.training.language import Trainer

NETWORK = {
    "kind": "gpt_neox",
    "layers": 2,
    "width": 16,
    "heads": 2,
    "expansion": 2,
    "rotary": 1.0,
    "parallel_residual": False,
}
TRAINING = {
    "steps": 12,
    "batch_size": 4,
    "learning_rate": 1e-2,
    "warmup": 2,
    "weight_decay": 0.1,
    "measure_every": 3,
}
SHARED = {"seed": 1, "name": "tiny", "run_seed": 1, "network": NETWORK, "training": TRAINING}
SETTINGS = json.dumps(SHARED | {"steps": [0, 4, 12], "branch_step": 5})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    made = corpus_file.from_arrays(
        tokens=rng.integers(7, size=(24, 9)),
        token_class=rng.choice([6, CLASSES.index("induction")], size=(24, 8)),
        kind=rng.integers(3, size=(24, 8)),
        text=list("abcdefg"),
        train_count=16,
        source="random characters",
        source_sha256="0",
    )
    corpus_file.write(made, tmp_path / "corpus.nc")
    return tmp_path / "corpus.nc"


def train(corpus: Path, name: str) -> xr.Dataset:
    out, scratch = corpus.parent / f"{name}.nc", corpus.parent / name
    argv = ["--settings", SETTINGS, "--corpus", str(corpus), "--scratch", str(scratch)]
    assert stage.main([*argv, "--out", str(out)]) == 0
    return language_training.read(out)


def test_an_interrupted_training_goes_on_bit_for_bit(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SAVE_EVERY", 2)
    whole = train(corpus, "whole")
    advance, taken = Trainer.advance, []

    def interrupted(self: Trainer, weigh: object = None) -> float:
        if len(taken) == 9:
            raise KeyboardInterrupt
        taken.append(self.step)
        return advance(self, weigh)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    argv = ["--settings", SETTINGS, "--corpus", str(corpus)]
    paths = ["--scratch", str(corpus.parent / "cut"), "--out", str(corpus.parent / "cut.nc")]
    assert stage.main([*argv, *paths]) == 130
    assert not (corpus.parent / "cut.nc").exists()
    monkeypatch.setattr(Trainer, "advance", advance)
    resumed = train(corpus, "cut")
    assert taken == list(range(9))
    xr.testing.assert_identical(resumed.drop_attrs(), whole.drop_attrs())


def test_an_arm_is_the_training_until_its_window(corpus: Path) -> None:
    kept = train(corpus, "whole")
    stages = corpus.parent / "stages.json"
    stages.write_text(json.dumps({"0": {"transition": {"step": None}}}))
    arms = {}
    for arm, extra in (("during", 3.0), ("before", 1e-12)):
        settings = SHARED | {
            "pilot": 0,
            "arm": arm,
            "branch": {
                "step": 5,
                "width": 2,
                "extra": extra,
                "after": 1,
                "measure_every": 1,
                "threshold": 0.999,
            },
        }
        out = corpus.parent / f"{arm}.nc"
        argv = ["--settings", json.dumps(settings), "--corpus", str(corpus)]
        paths = ["--training", str(corpus.parent / "whole.nc"), "--stages", str(stages)]
        assert branch([*argv, *paths, "--out", str(out)]) == 0
        arms[arm] = language_branch.read(out)
    place = kept["class"].values.tolist().index("induction")
    own = dict(zip(kept["measured_step"].values, kept["correct"].values[..., place], strict=True))
    # Without extra weight an arm is the training itself; it was measured at steps 6, 9 and 12.
    for step, correct in zip(arms["before"]["step"].values, arms["before"]["correct"], strict=True):
        if step in own:
            np.testing.assert_array_equal(correct, own[step])
    assert arms["during"].attrs["extra_steps"] == arms["before"].attrs["extra_steps"] == 2
    assert (arms["during"].attrs["low"], arms["during"].attrs["high"]) == (7, 9)
