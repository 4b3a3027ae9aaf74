"""Jobs that a killed Snakemake left in the queue of a cluster, which would race those of the next.

A local job watches its Snakemake and ends with it (see `watchdog`); a job of Slurm runs elsewhere
and lives on. So the next run ends it first: long jobs resume from their scratch folders.
"""

import shutil
import subprocess
import time
from pathlib import Path

from stagewise.errors import BusyError, StagewiseError

#: Where Snakemake's Slurm executor keeps the jobs' output: a folder without it never used Slurm.
SLURM_LOGS = Path(".snakemake/slurm_logs")
#: How the executor names a job in its comment; other jobs in the folder are somebody's own.
COMMENTS = ("rule_", "group_")
#: A cancelled job gets SIGTERM, and SIGKILL after Slurm's KillWait, 30 s unless set otherwise.
CANCEL_SECONDS = 120.0
POLL_SECONDS = 0.5


def end_submitted(folder: Path, seconds: float = CANCEL_SECONDS) -> list[str]:
    """Cancels the jobs that a Snakemake in `folder` has in Slurm's queue and waits for their end.

    Args:
        folder: Where the Snakefile is.
        seconds: How long to wait.

    Returns:
        Ids of the jobs that were cancelled.

    Raises:
        StagewiseError: Slurm does not answer; the message repeats what it said.
        BusyError: A job still runs after `seconds`; the message names it.
    """
    jobs = submitted(folder)
    if jobs:
        _ask("scancel", *jobs)
    deadline = time.monotonic() + seconds
    while left := submitted(folder):
        if time.monotonic() > deadline:
            raise BusyError(
                f"job {left[0]} of an earlier run does not end: see `squeue --me`, and run again "
                "when it is gone"
            )
        time.sleep(POLL_SECONDS)
    return jobs


def submitted(folder: Path) -> list[str]:
    """Returns the ids of the jobs in Slurm's queue that a Snakemake in `folder` submitted.

    Raises:
        StagewiseError: Slurm does not answer.
    """
    if not (folder / SLURM_LOGS).is_dir() or shutil.which("squeue") is None:
        return []
    found = []
    for line in _ask("squeue", "--me", "--noheader", "--format=%i|%k|%Z").splitlines():
        job, comment, where = line.strip().split("|", maxsplit=2)
        if comment.startswith(COMMENTS) and Path(where).resolve() == folder.resolve():
            found.append(job)
    return found


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StagewiseError(
            f"{command[0]} failed, so jobs of an earlier run may still be at work: "
            f"{done.stderr.strip()}; run again when Slurm answers"
        )
    return done.stdout
