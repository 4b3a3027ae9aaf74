"""Faults that no job can word itself: a folder that is closed to it, and its own sudden death."""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from stagewise.errors import StagewiseError

_FAILED = re.compile(r"^Error in rule (\w+):\n((?:    .*\n?)+)", re.M)
_LOG = re.compile(r"^    log: (.+?)(?: \(check log file.*)?$", re.M)
#: A group of jobs that failed as one job of a cluster: its jobs, without what they ran.
_GROUPS = re.compile(r"^    jobs:\n((?:        .*\n?)+)", re.M)
_MEMBER = re.compile(
    r"^ {8}rule (\w+):\n {12}jobid: .*\n {12}output: (.+)\n {12}log: (.+?)(?:, .*)?"
    r"(?: \(check log file.*)?$",
    re.M,
)
#: Every module here that begins its messages with its name; progress may begin with "main".
_STAGES = "|".join(sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - {"main"}))


def refuse_closed(folders: Sequence[str]) -> None:
    """Refuses to start where results cannot be written, before hours of jobs find out.

    Raises:
        StagewiseError: A folder cannot be made or written to.
    """
    for name in folders:
        path = Path(name)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise StagewiseError(
                f"{path} cannot be written ({error.strerror}): make it writable for you, or set "
                "`results` (and `paper`) in the config to folders that are"
            ) from error


def explain(logs: Sequence[str | Path]) -> list[str]:
    """Explains failed jobs whose own log holds no error: something ended them.

    Args:
        logs: Snakemake's own logs of the run.

    Returns:
        A message for each such job: which, why most likely, and what to do.
    """
    text = "\n".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in logs)
    found = {}
    for rule, body in _FAILED.findall(text):
        own = _LOG.search(body)
        # Behind the job's own log stands that of the cluster's scheduler.
        if own is not None and _is_silent(log := own[1].split(", ")[0]):
            found[log] = _message(rule, log, submitted="external_jobid: " in body)
    for body in _GROUPS.findall(text):
        if (ended := _ended_in_group(body)) is not None:
            rule, log = ended
            found[log] = _message(rule, log, submitted=True)
    return list(found.values())


def _ended_in_group(body: str) -> tuple[str, str] | None:
    """Returns rule and log of the job at which a group of jobs was ended; None if one has a word.

    A group's jobs run one after another: of those that began and whose outputs are not there (they
    may have been removed with those of the others) it is the one that wrote last.
    """
    jobs = _MEMBER.findall(body)
    if not all(_is_silent(log) for _, _, log in jobs if Path(log).exists()):
        return None
    begun = [
        (Path(log).stat().st_mtime_ns, rule, log)
        for rule, outputs, log in jobs
        if Path(log).exists() and not all(Path(one).exists() for one in outputs.split(", "))
    ]
    return max(begun)[1:] if begun else None


def _message(rule: str, log: str, *, submitted: bool) -> str:
    remedy = (
        "The scheduler ends a job that takes more memory or time than it asked for (its own log, "
        f"in .snakemake/slurm_logs, says so): allow more (--set-resources {rule}:mem_mb=MB, or "
        f"{rule}:runtime=MINUTES)"
        if submitted
        else "Most often memory ran out (dmesg names what the kernel killed). Free some, run fewer "
        "jobs at once (--cores 1) or allow them less together (--resources mem_mb=MB)"
    )
    return (
        f"{rule} was killed: {log} ends without an error. {remedy}, and run the same command "
        "again: it goes on where it was."
    )


def _is_silent(log: str) -> bool:
    """Tells whether a stage left neither its message nor a traceback."""
    try:
        text = Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    worded = re.search(rf"^(?:python -m stagewise\.cli\.)?(?:{_STAGES}): ", text, flags=re.M)
    return worded is None and "Traceback (most recent call last)" not in text
