"""Records of studies, of the bench and of Slurm: numbers with the commit and day of their run."""

import json
import subprocess
from pathlib import Path

import pytest

from stagewise.cli import expected_studies
from stagewise.storage import studies
from support.numbers import DEFAULT, entry, settings, write


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=a test", "-c", "user.email=test@example.org"]
    command = ["git", *identity, "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def run_expected_studies(found: dict, used: dict, **more: Path | str) -> int:
    """Runs the stage in the current folder, whose studies' numbers and settings are made up."""
    flags = more | {"numbers": write(Path("results/numbers.json"), found), "default": DEFAULT}
    flags["settings-file"] = write(Path("results/settings.json"), used)
    named = [part for key, path in flags.items() for part in (f"--{key}", str(path))]
    return expected_studies.main(named)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository with one commit, in which results are ignored."""
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git("init", "--quiet")
    (tmp_path / ".gitignore").write_text("/results/\n")
    git("add", ".gitignore")
    git("commit", "--quiet", "--message", "one")
    return tmp_path


RECORD = Path("paper/expected/studies.json")


@pytest.mark.usefixtures("repository")
def test_studies_are_recorded_with_commit_and_date() -> None:
    found = {"toy.sweep.full.law.best_r": entry(0.9, 0.1, 3)}
    assert run_expected_studies(found, settings()) == 0
    record = json.loads(RECORD.read_text())
    assert record["numbers"] == found
    assert record["commit"] == git("rev-parse", "--short=12", "HEAD")
    assert record["date"].count("-") == 2
    more = found | {"toy.more.r": entry(1.0)}  # the record itself is new, which makes nothing dirty
    assert run_expected_studies(more, settings()) == 0
    assert json.loads(RECORD.read_text()) == record | {"numbers": more}


def test_a_changed_folder_is_dirty_and_equal_numbers_keep_their_commit(repository: Path) -> None:
    found = {"toy.x": entry(0.9, 0.1, 3)}
    assert run_expected_studies(found, settings()) == 0
    clean = json.loads(RECORD.read_text())
    (repository / "new.py").write_text("x = 1\n")
    assert run_expected_studies(found, settings()) == 0
    assert json.loads(RECORD.read_text()) == clean
    assert run_expected_studies({"toy.x": entry(0.8, 0.1, 3)}, settings()) == 0
    assert json.loads(RECORD.read_text())["commit"] == clean["commit"] + "-dirty"


def test_studies_share_a_record_and_each_keeps_its_commit(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Caught: a study that wipes another's numbers, dates them, or leaves old ones of its own."""
    toy, images = {"toy.x": entry(), "toy.old": entry()}, {"vision.x": entry()}
    assert run_expected_studies(toy, settings(), study="toy") == 0
    first = json.loads(RECORD.read_text())["commit"]
    (repository / "new.py").write_text("x = 1\n")
    assert run_expected_studies(images, settings(), study="vision") == 0
    record = json.loads(RECORD.read_text())
    assert record["numbers"] == toy | images
    assert record["parts"]["toy"]["commit"] == first
    assert record["parts"]["vision"] == {
        "commit": f"{first}-dirty",
        "date": record["date"],
        "keys": ["vision.x"],
    }
    assert run_expected_studies({"toy.x": entry()}, settings(), study="toy") == 0
    assert json.loads(RECORD.read_text())["numbers"] == {"toy.x": entry()} | images
    before = RECORD.read_text()
    assert run_expected_studies({"vision.x": entry()}, settings(), study="scaling") == 2
    assert "vision.x" in capsys.readouterr().err
    assert RECORD.read_text() == before


@pytest.mark.usefixtures("repository")
def test_a_part_of_a_record_that_was_made_in_one_piece_is_replaced() -> None:
    """Caught: the rest under the part's commit, its numbers lost, or a number in two parts."""
    whole = {"bench.toy.x": entry(), "bench.mlp.x": entry(), "bench.mlp.old": entry()}
    assert run_expected_studies(whole, settings()) == 0
    first = studies.read(RECORD)
    newer = {"bench.mlp.x": entry(0.9), "bench.mlp.old": entry(0.8), "bench.mlp.new": entry()}
    assert run_expected_studies(newer, settings(), study="mlp") == 0
    record = studies.read(RECORD)
    assert record.numbers == whole | newer
    assert record.parts["mlp"]["keys"] == sorted(newer)
    assert record.parts[studies.UNSPLIT]["keys"] == ["bench.toy.x"]
    assert record.parts[studies.UNSPLIT]["commit"] == first.commit
    # The last of the rest goes too.
    assert run_expected_studies({"bench.toy.x": entry(0.7)}, settings(), study="toy") == 0
    assert sorted(studies.read(RECORD).parts) == ["mlp", "toy"]


@pytest.mark.usefixtures("repository")
def test_studies_of_other_settings_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    used = settings()
    used["toy"]["sweeps"]["full"]["chains"] += 1
    assert run_expected_studies({"toy.x": entry()}, used) == 2
    message = capsys.readouterr().err
    assert "toy.sweeps.full.chains differ" in message
    assert "make studies" in message
    assert not RECORD.exists()


@pytest.mark.usefixtures("repository")
def test_a_run_of_another_configuration_is_held_against_that(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The smoke run's settings are the default ones with its file laid over them."""
    over, out = Path("over.yaml"), Path("paper/expected/cluster.json")
    over.write_text("toy: {sweeps: {full: {chains: 7}}}")
    used, found = settings(), {"cluster.jobs": entry(40)}
    assert run_expected_studies(found, used, over=over, out=out) == 2
    message = capsys.readouterr().err
    assert "toy.sweeps.full.chains differ" in message
    assert "make test-cluster" in message
    used["toy"]["sweeps"]["full"]["chains"] = 7
    assert run_expected_studies(found, used, over=over, out=out) == 0
    assert json.loads(out.read_text())["numbers"] == found
