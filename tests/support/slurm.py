"""Runs of the workflow through the Slurm that `.ci/cluster.py` starts, and its queue."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.repository import ROOT
from support.workflow import Copy

#: As a person would name the profile, but with an eye on the queue each second.
PROFILE = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
#: What Snakemake says of every job that it hands over.
SUBMITTED = re.compile(r"has been submitted with SLURM jobid (\d+) \(log: (\S+)\)")
PATIENCE_SECONDS = 300.0


def through_slurm(copy: Copy, *arguments: str) -> list[str]:
    """The command that runs targets of a copy as jobs of Slurm, as `make` would."""
    return copy.wrapped(*arguments, *PROFILE)


def tiny_workflow(folder: Path, rules: str, environment: dict[str, str]) -> Copy:
    """A workflow of a few rules, with the profiles of the repository."""
    (folder / "Snakefile").write_text(rules, encoding="utf-8")
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    return Copy(folder, environment)


def slurm(*command: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def queue(states: str = "PENDING,RUNNING,COMPLETING") -> dict[str, str]:
    """The jobs in some states, by id, and the state of each."""
    lines = slurm("squeue", "--noheader", f"--states={states}", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def await_value(question: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """The answer to a question, once it is neither empty nor false."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)
    return answer
