"""Jobs that a killed run left in a queue: found by folder and comment, cancelled, waited for."""

import os
from pathlib import Path

import pytest

from stagewise.cli.submitted import SLURM_LOGS, end_submitted, submitted
from stagewise.errors import BusyError, StagewiseError

#: Stand in for Slurm: a file is the queue, and cancelling a job takes its line out of it.
SQUEUE = "#!/bin/sh\ncat {queue}\n"
SCANCEL = '#!/bin/sh\nfor job in "$@"; do sed -i "/^$job|/d" {queue}; done\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose Snakemake has used Slurm; commands of Slurm read ``queue`` beside it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("squeue", SQUEUE), ("scancel", SCANCEL)):
        (programs / name).write_text(text.format(queue=tmp_path / "queue"))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "here" / SLURM_LOGS).mkdir(parents=True)
    lines = [
        f"1|rule_toy_train_wildcards_balanced|{tmp_path}/here",
        f"2|group_figures_figure|{tmp_path}/here",
        f"3|rule_toy_train_wildcards_balanced|{tmp_path}/elsewhere",
        f"4|(null)|{tmp_path}/here",  # the user's own, in the same folder
    ]
    (tmp_path / "queue").write_text("".join(f"{line}\n" for line in lines))
    return tmp_path / "here"


def test_only_this_folders_jobs_of_snakemake_are_ended(folder: Path) -> None:
    assert end_submitted(folder) == ["1", "2"]
    left = (folder.parent / "queue").read_text()
    assert [line[0] for line in left.splitlines()] == ["3", "4"]
    assert end_submitted(folder) == []


def test_a_folder_that_never_used_slurm_asks_nothing(folder: Path) -> None:
    (folder / SLURM_LOGS).rmdir()
    assert submitted(folder) == []


def test_a_job_that_does_not_end_is_named(folder: Path) -> None:
    (folder.parent / "programs" / "scancel").write_text("#!/bin/sh\n")
    with pytest.raises(BusyError, match="job 1 of an earlier run does not end"):
        end_submitted(folder, seconds=0.1)


def test_a_slurm_that_does_not_answer_stops_the_run(folder: Path) -> None:
    """Going on would let old jobs and new ones write the same files."""
    (folder.parent / "programs" / "squeue").write_text("#!/bin/sh\necho no route >&2; exit 1\n")
    with pytest.raises(StagewiseError, match="no route; run again when Slurm answers"):
        end_submitted(folder)
