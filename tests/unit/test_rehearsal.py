"""The rehearsal of the run on ImageNet: its files, and that it is a rehearsal of that run.

What its stages do with such files is tested in test_vision_imagenet.py.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from stagewise.cli import rehearsal as stage
from stagewise.cli.rehearsal import main
from stagewise.data.standin import CLASSES, LEAVES, write_standin
from stagewise.data.wordnet import WordNet
from stagewise.errors import ConfigError
from stagewise.models.googlenet import load
from support.repository import ROOT

#: What a rehearsal may have less of than the run.
COUNTS = {"source": {"train_per_class", "held_per_class"}}
COUNTS |= {"sampling": {"batch_size", "chains", "burn_in", "draws", "driving"}}
#: Where its files stand.
FILES = {"source": {"train", "held", "wordnet"}, "network": {"weights"}}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Fewer classes than ImageNet has."""
    count = len(LEAVES) + 3
    monkeypatch.setattr(stage, "CLASSES", count)
    return count


def test_the_files_are_those_that_the_run_reads(
    tmp_path: Path, small: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made" / "rehearsal"
    assert main(["--out", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {"train", "val", "dict", "googlenet.pth"}
    for tree in ("train", "val"):
        pictures = sorted((folder / tree).rglob("*.JPEG"))
        assert [path.parent.name for path in pictures] == sorted(
            path.name for path in (folder / tree).iterdir()
        )
        modes = {Image.open(path).mode for path in pictures}
        assert modes == {"RGB", "L", "CMYK"}
        assert {Image.open(path).size for path in pictures} == {(500, 375)}
    assert WordNet(folder / "dict").synset("n02099601").lemmas == ("golden retriever",)
    network = load(str(folder / "googlenet.pth"), small)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, small)
    assert f"{small} classes" in capsys.readouterr().out


def test_the_folder_is_whole_or_absent_and_never_written_over(
    tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rehearsal"
    with monkeypatch.context() as patch:
        patch.setattr(stage, "build", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["--out", str(folder)]) != 0
    assert not folder.exists()
    assert main(["--out", str(folder)]) == 0
    before = (folder / "googlenet.pth").read_bytes()
    assert main(["--out", str(folder)]) != 0
    assert "delete it" in capsys.readouterr().err
    assert (folder / "googlenet.pth").read_bytes() == before


def test_fewer_classes_than_have_true_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask for as many"):
        write_standin(tmp_path, len(LEAVES) - 1)


def run_of(config: str) -> dict[str, Any]:
    text = (ROOT / f"config/{config}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["vision"]["runs"]["imagenet"]


def test_it_is_the_run_at_the_papers_scale_but_for_counts_and_places() -> None:
    """Catches a setting that is changed in one of the files and forgotten in the other."""
    paper, rehearsed = run_of("paper"), run_of("rehearsal")
    assert rehearsed["source"]["classes"] == CLASSES
    assert rehearsed.keys() == paper.keys()
    for part in ("source", "network", "sampling"):
        assert rehearsed[part].keys() == paper[part].keys()
        free = COUNTS.get(part, set()) | FILES.get(part, set())
        for name, value in paper[part].items():
            assert name in free or rehearsed[part][name] == value, name
        for name in COUNTS.get(part, ()):
            assert rehearsed[part][name] < paper[part][name], name
