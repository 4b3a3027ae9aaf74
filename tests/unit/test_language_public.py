"""The stages on public checkpoints, from files in the true layout to influence; no network.

Caught: a stage that reads another revision than its step, tokens of another tokenizer, chains of
one block that depend on the other's, and results that cannot be joined.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.cli.language_corpus import main as corpus
from stagewise.cli.language_gradients import main as gradients
from stagewise.cli.language_influence import main as influence
from stagewise.cli.language_sample import main as sample
from stagewise.cli.language_stages import main as stages
from stagewise.cli.language_train import main as train
from stagewise.storage import language_training, trace
from support.neox_files import DOCUMENTS, neox, save_tokenizer

STEPS = [0, 8, 1000]
SAMPLING = {
    "n_beta": 10.0,
    "localization": 1e4,
    "step_size": 1e-5,
    "batch_size": 2,
    "chains": 8,
    "burn_in": 1,
    "draws": 8,
    "prior_draws": 8,
    "recorded": 4,
    "checkpoint_block": 2,
    "chain_block": 4,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three revisions, a tokenizer and documents, as a user has them."""
    root = tmp_path_factory.mktemp("public")
    save_tokenizer(root / "tokenizer")
    for step in STEPS:
        neox(step).save_pretrained(root / "model" / f"step{step}")
    lines = [json.dumps({"text": text}) for text in DOCUMENTS * 12]
    (root / "text.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def told(root: Path, **more: object) -> str:
    network = {"kind": "pretrained", "model": str(root / "model")}
    return json.dumps({"seed": 1, "name": "tiny", "network": network, **more})


def call(main: object, settings: str, **paths: Path | list[Path]) -> int:
    argv = ["--settings", settings]
    for name, value in paths.items():
        argv += ["--" + name, *map(str, value if isinstance(value, list) else [value])]
    return main(argv)


@pytest.fixture(scope="module")
def done(files: Path) -> Path:
    """Everything up to influence."""
    source = {
        "kind": "documents",
        "path": str(files / "text.jsonl"),
        "tokenizer": str(files / "tokenizer"),
        "length": 12,
        "train": 12,
        "held": 6,
    }
    made = json.dumps({"seed": 1, "name": "tiny", "source": source})
    data, out = files / "corpus.nc", files / "training.nc"
    assert call(corpus, made, out=data) == 0
    settings = told(files, run_seed=0, training=None, steps=STEPS)
    assert call(train, settings, corpus=data, scratch=files / "scratch", out=out) == 0
    given = {"corpus": data, "training": out}
    for steps in (STEPS[:2], STEPS[2:]):
        for chain in (0, 4):
            settings = told(files, sampling=SAMPLING, steps=steps, chain_start=chain)
            name = f"step{steps[0]}_chain{chain}.nc"
            paths = {"out": files / f"trace_{name}", "prior": files / f"prior_{name}"}
            assert call(sample, settings, **given, scratch=files / "scratch", **paths) == 0
    settings = told(files, recorded=SAMPLING["recorded"], steps=STEPS)
    assert call(gradients, settings, **given, out=files / "gradients.nc") == 0
    limits = {"warn": 1e-6, "fail": 1e-30}
    wide = {"stride": 1, "rhat": {"warn": 5.0, "fail": 50.0}, "ess": {"warn": 4.0, "fail": 0.5}}
    settings = {"seed": 1, "name": "tiny", "run_seed": 0, "bootstrap": 20}
    settings["diagnostics"] = wide | {"false_alarm": limits}
    assert (
        call(
            influence,
            json.dumps(settings),
            corpus=data,
            traces=sorted(files.glob("trace_*")),
            priors=sorted(files.glob("prior_*")),
            gradients=files / "gradients.nc",
            out=files / "influence.nc",
        )
        == 0
    )
    return files


def test_every_revision_is_measured_by_its_own_weights(done: Path) -> None:
    found = language_training.read(done / "training.nc")
    assert found["measured_step"].values.tolist() == STEPS
    assert "weights" not in found
    losses = found["loss_sum"].sum(["held", "class"]).values
    assert len(set(losses.round(6).tolist())) == len(STEPS)


def test_a_trace_holds_the_losses_of_its_revision(done: Path) -> None:
    """At the checkpoint they are those of the model that was saved."""
    import torch

    from stagewise.models.neox import token_losses

    data = xr.load_dataset(done / "corpus.nc", engine="h5netcdf")
    tokens = torch.from_numpy(data["tokens"].values[:4].astype(np.int64))
    first = trace.read(done / "trace_step0_chain0.nc")
    for place, step in enumerate(STEPS[:2]):
        with torch.no_grad():
            logits = neox(step)(input_ids=tokens[:, :-1]).logits
        expected = token_losses(logits, tokens[:, 1:]).flatten().numpy()
        np.testing.assert_allclose(first["loss_ref"].values[place], expected, rtol=1e-4)


def test_blocks_of_chains_are_told_apart(done: Path) -> None:
    one, other = (trace.read(done / f"trace_step0_chain{chain}.nc") for chain in (0, 4))
    assert one["chain"].values.tolist() == [0, 1, 2, 3]
    assert other["chain"].values.tolist() == [4, 5, 6, 7]
    assert one.attrs["settings_hash"] == other.attrs["settings_hash"]
    assert not np.allclose(one["excess_loss"].values, other["excess_loss"].values)


def test_influence_has_every_step_and_all_chains(done: Path) -> None:
    found = xr.load_dataset(done / "influence.nc", engine="h5netcdf")
    assert found["step"].values.tolist() == STEPS
    assert int(found.attrs["n_chains"]) == 8
    assert np.isfinite(found["influence"].values).any()


def test_stages_without_a_transition_say_so(done: Path) -> None:
    settings = json.dumps({"seed": 1, "name": "tiny", "bootstrap": 20})
    paths = {"out": done / "stages.json", "table": done / "stages.csv"}
    given = {"corpus": done / "corpus.nc", "training": [done / "training.nc"]}
    assert call(stages, settings, **given, **paths) == 0
    assert json.loads((done / "stages.json").read_text())["0"]["transition"]["step"] is None


def test_a_missing_revision_ends_before_any_compute(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = told(done, run_seed=0, training=None, steps=[0, 16])
    paths = {"scratch": done / "scratch", "out": done / "never.nc"}
    assert call(train, settings, corpus=done / "corpus.nc", **paths) == 2
    assert "16" in capsys.readouterr().err
    assert not (done / "never.nc").exists()
