"""Ends a stage whose Snakemake has died, so that no orphan goes on writing results.

After ``kill -9`` of Snakemake its jobs live on under init, and the next run would race them.
Snakemake therefore names itself in an environment variable (`name_myself`, called when the workflow
is parsed), which its jobs inherit; a job watches the processes between itself and that one, as
(pid, start time) pairs that no later process can share, and leaves as soon as one is gone. The name
must come from the environment: a job that is still importing when Snakemake dies could no longer
find it among its ancestors. Needs ``/proc`` (Linux); does nothing elsewhere, nor for a stage
started by hand.
"""

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

EXIT_ORPHANED = 129  # 128 + SIGHUP: what a process gets when the session it belongs to ends
POLL_SECONDS = 0.2
VARIABLE = "STAGEWISE_SNAKEMAKE"
_PROC = Path("/proc")


class Process(NamedTuple):
    """One process, told apart from later ones with its pid by its start time (clock ticks)."""

    pid: int
    start: int


def name_myself() -> None:
    """Puts this process, a Snakemake, into the environment of its jobs.

    A Snakemake started by another one (as some executors do) keeps the outer name, so that its
    jobs end with either of them.
    """
    outer = _named()
    if outer is not None and outer in _ancestors(os.getpid()):
        return
    if (status := _status(os.getpid())) is not None:
        os.environ[VARIABLE] = f"{os.getpid()}:{status[1]}"


def start_watchdog() -> threading.Thread | None:
    """Watches Snakemake and all between it and this process; None when there is no Snakemake."""
    named = _named()
    if named is None or not _PROC.is_dir():
        return None
    ancestors = _ancestors(os.getpid())
    watched = ancestors[: ancestors.index(named) + 1] if named in ancestors else [named]
    thread = threading.Thread(target=_watch, args=(watched,), name="watchdog", daemon=True)
    thread.start()
    return thread


def is_alive(process: Process) -> bool:
    """Tells whether this very process still runs (a zombie does not)."""
    status = _status(process.pid)
    return status is not None and status[1] == process.start and status[2] not in "ZX"


def _watch(watched: list[Process]) -> None:
    while all(is_alive(process) for process in watched):
        time.sleep(POLL_SECONDS)
    # Not sys.exit: the main thread may sit in a long call, and nothing must be written any more.
    os._exit(EXIT_ORPHANED)


def _named() -> Process | None:
    pid, _, start = os.environ.get(VARIABLE, "").partition(":")
    return Process(int(pid), int(start)) if pid.isdecimal() and start.isdecimal() else None


def _ancestors(pid: int) -> list[Process]:
    """Returns the ancestors of `pid`, nearest first, without init."""
    result: list[Process] = []
    while (status := _status(pid)) is not None and (pid := status[0]) > 1:
        if (parent := _status(pid)) is None:
            break
        result.append(Process(pid, parent[1]))
    return result


def _status(pid: int) -> tuple[int, int, str] | None:
    """Returns (parent pid, start time, state letter) from /proc, None when the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the name in parentheses and may itself hold spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), int(fields[19]), fields[0]
