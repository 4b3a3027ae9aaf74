"""Runs Snakemake in this folder, one at a time, and clears up after one that was killed.

``make`` calls ``python -m stagewise.cli.workflow [snakemake's arguments]``. Snakemake locks the
folder, but after ``kill -9`` its lock stays and its jobs live on for a moment. So this wrapper
holds a lock of the kernel's, which ends with the process; under it, it cancels what a killed run
left in the queue of a cluster, waits until its orphans are gone, removes Snakemake's stale lock and
becomes Snakemake (see `scheduler`).
"""

import contextlib
import fcntl
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from stagewise.cli.submitted import end_submitted
from stagewise.cli.watchdog import VARIABLE
from stagewise.errors import BusyError, StagewiseError

LOCK = Path(".snakemake/stagewise.lock")
SNAKEMAKE_LOCKS = Path(".snakemake/locks")
ORPHAN_SECONDS = 20.0
MODULES = (("-m", "snakemake"), ("-m", "stagewise.cli.scheduler"))


def main(argv: Sequence[str] | None = None) -> int:
    """Becomes Snakemake; returns (status 2, one message on stderr) only when it must not run."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        prepare(Path.cwd())
    except StagewiseError as error:
        print(f"workflow: {error}", file=sys.stderr)
        return 2
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "stagewise.cli.scheduler", *arguments])


def prepare(folder: Path) -> int:
    """Locks `folder` until this process ends, whatever program it becomes, and clears it up.

    Args:
        folder: Where the Snakefile is.

    Returns:
        The descriptor that holds the lock. Programs started by Snakemake do not inherit it, since
        it starts them with all other descriptors closed: no orphan can keep the lock.

    Raises:
        BusyError: Another live process, or a job that does not end, works in the folder.
        StagewiseError: There is no Snakefile, or a cluster that was used does not answer.
    """
    if not (folder / "Snakefile").is_file():
        raise StagewiseError(f"{folder} has no Snakefile: run this in the repository's folder")
    refuse_other_node(folder)
    descriptor = acquire(folder / LOCK)
    if _has_files(folder / SNAKEMAKE_LOCKS):
        refuse_live_snakemake(folder)
        if jobs := end_submitted(folder):
            print(f"workflow: cancelled {len(jobs)} jobs of a run that was killed", file=sys.stderr)
        wait_for_orphans(folder, ORPHAN_SECONDS)
        # What `snakemake --unlock` does, without parsing the workflow first.
        shutil.rmtree(folder / SNAKEMAKE_LOCKS)
        print("workflow: unlocked after a run that was killed", file=sys.stderr, flush=True)
    return descriptor


def acquire(path: Path) -> int:
    """Takes the lock file for this process and puts its pid there.

    Raises:
        BusyError: A live process has it; the message names its pid.
        StagewiseError: The folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StagewiseError(
            f"{path.parent} cannot be written ({error.strerror}): Snakemake keeps its state there; "
            "make the repository's folder writable for you, or clone it to a place that is"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 256, 0).decode().strip() or "unknown"
        os.close(descriptor)
        raise _busy(holder) from error
    except OSError as error:
        os.close(descriptor)
        raise StagewiseError(
            f"{path} cannot be locked ({error.strerror}): the file system of the repository's "
            "folder has no locks (a network one without lockd, say); clone it to one that has"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    os.set_inheritable(descriptor, True)  # Snakemake, which this process becomes, goes on holding
    return descriptor


def refuse_other_node(folder: Path) -> None:
    """Lets nothing be unlocked that a run on another node may hold.

    Some file systems keep a lock to the node on which it was taken, so that it seems free here.

    Raises:
        BusyError: Snakemake's own lock is there, and the run that had ours began on another node.
    """
    lock = folder / LOCK
    if not _has_files(folder / SNAKEMAKE_LOCKS) or not lock.is_file():
        return
    pid, _, node = lock.read_text(encoding="utf-8").strip().partition(" on ")
    if node not in ("", socket.gethostname()):
        raise BusyError(
            f"process {pid} on {node} was working in this folder and has not unlocked it: start "
            f"again on {node}, or, if nothing of that run is alive any more, delete {lock} first"
        )


def refuse_live_snakemake(folder: Path) -> None:
    """Lets nothing be unlocked that a Snakemake started by hand still holds.

    Raises:
        BusyError: Such a process works in `folder`; the message names its pid.
    """
    for process in _processes_in(folder, lambda process: is_snakemake(process.cmdline())):
        raise _busy(process.pid)


def wait_for_orphans(folder: Path, seconds: float) -> None:
    """Waits for the jobs of a killed Snakemake, which end by themselves (see `watchdog`).

    Raises:
        BusyError: One still runs after `seconds`; the message names its pid.
    """
    deadline = time.monotonic() + seconds
    while orphan := next(
        _processes_in(folder, lambda process: VARIABLE in process.environ()), None
    ):
        if time.monotonic() > deadline:
            raise _busy(orphan.pid)
        time.sleep(0.1)


def is_snakemake(command: Sequence[str]) -> bool:
    """Tells whether a command line is Snakemake's own: the script, its module, or ours over it.

    What a submitted job starts to run its rule (``--mode remote``) does not count.
    """
    names = [os.path.basename(word) for word in command[:2]]
    inside = any(pair == ("--mode", "remote") for pair in pairwise(command))
    return not inside and ("snakemake" in names or tuple(command[1:3]) in MODULES)


def _processes_in(
    folder: Path, wanted: Callable[[psutil.Process], bool]
) -> Iterator[psutil.Process]:
    """Yields the other live processes that work in `folder`, as far as this user may look."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            alive = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if alive and Path(process.cwd()) == folder and wanted(process):
                yield process


def _busy(holder: int | str) -> BusyError:
    pid = str(holder).partition(" ")[0]
    return BusyError(
        f"process {pid} is already working in this folder: wait for it, or end it with `kill {pid}`"
    )


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


if __name__ == "__main__":
    sys.exit(main())
