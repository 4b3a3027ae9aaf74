"""The Slurm that these tests need: `make test-cluster` starts it."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from support.slurm import queue, slurm


@pytest.fixture(scope="session", autouse=True)
def node() -> Iterator[str]:
    """Name of the one node."""
    asked = shutil.which("sinfo") and subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%N %t"], capture_output=True, text=True
    )
    words = asked.stdout.split() if asked else []
    if len(words) != 2 or words[1] != "idle":
        pytest.exit("these tests need a Slurm of one idle node: `make test-cluster`", returncode=2)
    yield words[0]
    assert queue() == {}


@pytest.fixture(autouse=True)
def undrained(node: str) -> Iterator[None]:
    """Leaves the node as the next test expects it, whatever became of this one."""
    yield
    if queue():
        slurm("scancel", "--quiet", "--user=root")
    if "DRAIN" in slurm("scontrol", "show", "node", node):
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
