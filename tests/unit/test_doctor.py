"""`stagewise doctor` names what is missing and how to get it, and fails only then."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from stagewise.cli import doctor, doctor_inputs, doctor_machine
from stagewise.config.retraining import RetrainingSettings
from stagewise.config.retraining_data import PublicNetwork
from stagewise.config.root import Root
from support.repository import ROOT

PRETRAINED = """
language:
  runs:
    public:
      source:
        {kind: documents, path: data/text.jsonl, tokenizer: here, length: 8, train: 2, held: 2}
      network: {kind: pretrained, model: here, cache: cache}
      sampling: {n_beta: 1.0, localization: 1.0, step_size: 1.0e-4, batch_size: 2, chains: 8,
                 burn_in: 1, draws: 8, prior_draws: 8, recorded: 2, checkpoint_block: 1,
                 chain_block: 8}
      grids: {0: [0, 8]}
vision:
  runs:
    photos:
      source: {kind: image_folder, train: images/train, held: images/held, wordnet: dict,
               classes: 2, train_per_class: 1, held_per_class: 1}
      network: {weights: weights.pt}
      mislabel: null
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """The default configuration with runs that need files, in a folder without any."""
    (tmp_path / "config").mkdir()
    text = (ROOT / "config/default.yaml").read_text(encoding="utf-8")
    (tmp_path / "config/default.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "more.yaml").write_text(PRETRAINED + photos(text), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return doctor.read_config(Path("more.yaml"))


def photos(default: str) -> str:
    """Sampling and seeds of the run of photos: those of the glyphs."""
    lines = default.partition("\n      # Chosen on images")[2].splitlines()[1:]
    chosen = lines[: next(i for i, line in enumerate(lines) if "development_draws" in line)]
    return "\n".join(chosen) + "\n"


def levels(config: Root) -> dict[str, str]:
    return {one.what: one.level for one in doctor_inputs.examine(config)}


def test_the_default_run_lacks_nothing_where_the_suite_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a check that cries wolf: what the suite runs on is enough."""
    monkeypatch.chdir(ROOT)
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert "nothing is missing for config/default.yaml" in out
    for what in ("python", "packages", "torch and torchvision", "cuda", "fonts", "disk", "memory"):
        assert f" {what}" in out


def test_everything_that_a_run_reads_is_missed_by_name(
    config: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {name for name, level in levels(config).items() if level == "missing"}
    assert runs == {
        "text of language.runs.public",
        "tokenizer of language.runs.public",
        "checkpoints of language.runs.public",
        "images of vision.runs.photos.train",
        "images of vision.runs.photos.held",
        "WordNet of vision.runs.photos",
        "weights of vision.runs.photos",
    }
    assert doctor.main(["--configfile", "more.yaml"]) == 1
    out = capsys.readouterr().out
    assert "7 missing for more.yaml" in out
    for remedy in ("data/text.jsonl", "step0 --cache-dir cache", "wordnet-base", "2 folders"):
        assert remedy in out


def test_what_is_there_is_found(config: Root) -> None:
    for place in ("here/step0", "here/step8", "images/train/n1", "images/held/n1", "dict", "data"):
        Path(place).mkdir(parents=True)
    for part in ("train", "held"):
        Path("images", part, "n2").mkdir()
    files = ["here/tokenizer.json", "dict/data.noun", "data/text.jsonl", "weights.pt"]
    files += [
        f"here/step{n}/{name}" for n in (0, 8) for name in ("config.json", "model.safetensors")
    ]
    for name in files:
        Path(name).write_text("{}")
    assert set(levels(config).values()) == {"ok"}


def test_an_incomplete_checkpoint_is_missing(config: Root) -> None:
    Path("here/step0").mkdir(parents=True)
    Path("here/step0/config.json").write_text("{}")
    found = {one.what: one.text for one in doctor_inputs.examine(config)}
    assert "2 of 2 steps" in found["checkpoints of language.runs.public"]


def test_a_torchvision_of_another_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.11.0", "torchvision": "0.25.0"}
    monkeypatch.setattr(doctor_machine.metadata, "version", lambda name: versions.get(name, "0"))
    found = doctor_machine.torch_pair()
    assert found.level == "missing"
    assert "torch 2.11 goes with torchvision 0.26" in found.remedy


def test_a_package_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "no-such-package", "pytest>=99; extra == 'dev'"]
    monkeypatch.setattr(doctor_machine.metadata, "requires", lambda name: wanted)
    found = doctor_machine.packages()
    assert found.level == "missing"
    assert "no-such-package is not installed" in found.text
    assert "allowed are >=99" in found.text
    assert "pytest" not in found.text


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EROFS is what a read-only mount says, to root too."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(doctor_machine.tempfile, "mkdtemp", refuse)
    (found,) = doctor_machine.folders([tmp_path / "results"])
    assert found.level == "missing"
    assert "Read-only file system" in found.text
    assert str(tmp_path) in found.remedy


def test_a_gpu_that_is_asked_for_is_a_note(config: Root) -> None:
    """It runs without, slowly: that is for the user to judge."""
    runs = doctor_machine.needs_gpu(config)
    assert runs == ["language.runs.public", "vision.runs.photos"]
    assert doctor_machine.cuda(runs).level in ("ok", "note")
    assert doctor_machine.cuda([]).level == "ok"


def test_a_wrong_configuration_is_one_message(
    config: Root, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("more.yaml").write_text("toy: {learnin: 1}")
    assert doctor.main(["--configfile", "more.yaml"]) == 2
    assert doctor.main(["--configfile", "none.yaml"]) == 2
    errors = capsys.readouterr().err
    assert "toy.learnin" in errors
    assert "none.yaml does not exist" in errors


def test_files_of_cifar10_are_missed_by_name(tmp_path: Path) -> None:
    source = SimpleNamespace(kind="cifar10", folder=str(tmp_path / "here"))
    problems = {"net": SimpleNamespace(source=source)}
    (found,) = doctor_inputs.cifar(RetrainingSettings.model_construct(problems=problems))
    assert (found.what, found.level) == ("images of retraining.problems.net", "missing")
    assert "7 files missing, 0 not the published ones" in found.text
    assert f"in {tmp_path / 'here'}" in found.remedy


def test_what_retraining_reads_is_missed_by_name() -> None:
    """Catches a problem on documents that is only found out by its first job."""
    problems = {
        "public": SimpleNamespace(
            source=SimpleNamespace(
                kind="documents", path="data/a.jsonl", column="t", tokenizer="x"
            ),
            network=PublicNetwork(kind="pretrained", model="there", cache="cache", step=8),
        ),
        "own": SimpleNamespace(
            source=SimpleNamespace(kind="docstrings", package="numpy", pretraining="no_package"),
            network=SimpleNamespace(kind="neox"),
        ),
        "digits": SimpleNamespace(source=SimpleNamespace(kind="digits")),
    }
    config = Root.model_construct(
        language=SimpleNamespace(runs={}), retraining=SimpleNamespace(problems=problems)
    )
    found = [*doctor_inputs.texts(config), *doctor_inputs.models(config)]
    assert {one.what: one.level for one in found} == dict.fromkeys(
        (
            "text of retraining.problems.public",
            "tokenizer of retraining.problems.public",
            "text of retraining.problems.own",
            "checkpoints of retraining.problems.public",
        ),
        "missing",
    )
    assert "1 of 1 steps of there are not here: 8" in found[-1].text
