"""What `make` calls: one run at a time in a folder, and a killed one is cleared up."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stagewise.cli import workflow
from stagewise.cli.watchdog import VARIABLE
from stagewise.errors import BusyError, StagewiseError
from support.repository import ROOT
from support.workflow import Copy

SNAKEFILE = """
import os
from stagewise.cli.watchdog import name_myself
name_myself()

rule all:
    output: "done.txt"
    params: program=sys.executable
    shell: "echo $OMP_NUM_THREADS > started.txt; {params.program} job.py > {output}"
"""
#: A job that the kernel kills for its memory, as far as anybody can see: SIGKILL, and no word.
KILLED = """
import os
import sys
from stagewise.cli.faults import explain

onerror:
    for message in explain(log):
        print(f"workflow: {message}", file=sys.stderr)

rule all:
    output: "done.txt"
    log: "job.log"
    shell: "PATH={program}:$PATH python -m stagewise.cli.toy_train > {log} 2>&1; touch {output}"
"""
JOB = """
import time
from stagewise.cli.watchdog import start_watchdog
start_watchdog()
time.sleep(float(open("seconds.txt").read()))
print("finished")
"""
#: Long after which something hangs on a crowded machine, and less than the job of 600 s takes.
PATIENCE = 300.0


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Copy]:
    """A workflow of one job, which takes as long as seconds.txt says."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "seconds.txt").write_text("600")
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    yield Copy(tmp_path, environment)
    for process in psutil.process_iter():
        if works_in(process, tmp_path):
            process.kill()


def works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder
    except (psutil.Error, OSError):
        return False


def wait_until(condition: object, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def start(tiny: Copy, *, wrapped: bool) -> subprocess.Popen:
    """Starts a run and waits until its job is at work."""
    (tiny.folder / "started.txt").unlink(missing_ok=True)
    command = tiny.wrapped("-c1") if wrapped else tiny.command("-c1")
    process = tiny.start(command)
    wait_until((tiny.folder / "started.txt").exists)
    return process


def alive_in(folder: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if works_in(process, folder)]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_second_run_is_refused_with_the_pid_of_the_first(tiny: Copy, wrapped: bool) -> None:
    first = start(tiny, wrapped=wrapped)
    output = tiny.run(tiny.wrapped("-c1"), status=2)
    assert f"process {first.pid} is already working in this folder" in output
    assert "Traceback" not in output
    assert first.poll() is None


def test_after_a_kill_the_next_run_unlocks_and_finishes(tiny: Copy) -> None:
    first = start(tiny, wrapped=True)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (tiny.folder / "seconds.txt").write_text("0")
    output = tiny.run(tiny.wrapped("-c1"))
    assert "unlocked after a run that was killed" in output
    assert (tiny.folder / "done.txt").read_text() == "finished\n"


def test_after_a_kill_plain_snakemake_stops_at_its_lock(tiny: Copy) -> None:
    """The fact for which the wrapper exists."""
    first = start(tiny, wrapped=False)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    wait_until(lambda: not alive_in(tiny.folder))
    assert "LockException" in tiny.run(tiny.command("-c1"), status=1)


def test_orphans_end_by_themselves(tiny: Copy) -> None:
    first = start(tiny, wrapped=True)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    wait_until(lambda: not alive_in(tiny.folder), seconds=workflow.ORPHAN_SECONDS)


def test_a_job_that_snakemake_no_longer_watches_ends(tiny: Copy) -> None:
    """A job whose Snakemake died while it was still importing finds it gone, not absent."""
    environment = tiny.environment | {VARIABLE: f"{2**22 + 1}:1"}
    job = subprocess.Popen([sys.executable, "job.py"], cwd=tiny.folder, env=environment)
    assert job.wait(timeout=PATIENCE) == 129


def test_an_orphan_that_does_not_end_is_named(tmp_path: Path) -> None:
    environment = {**os.environ, VARIABLE: "1:1"}
    with subprocess.Popen(["sleep", "600"], cwd=tmp_path, env=environment) as orphan:
        with pytest.raises(BusyError, match=f"process {orphan.pid} is already working"):
            workflow.wait_for_orphans(tmp_path, 0.3)
        orphan.kill()


def test_what_a_run_on_another_node_may_hold_is_not_unlocked(tmp_path: Path) -> None:
    """Catches two login nodes of a file system whose locks end at the node."""
    lock, held = tmp_path / workflow.LOCK, tmp_path / workflow.SNAKEMAKE_LOCKS / "0.input.lock"
    held.parent.mkdir(parents=True)
    lock.write_text("7 on elsewhere\n")
    workflow.refuse_other_node(tmp_path)
    held.touch()
    with pytest.raises(BusyError, match=r"process 7 on elsewhere .* start again on elsewhere"):
        workflow.refuse_other_node(tmp_path)
    lock.write_text(f"7 on {socket.gethostname()}\n")
    workflow.refuse_other_node(tmp_path)
    lock.write_text("7\n")
    workflow.refuse_other_node(tmp_path)


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(workflow.fcntl, "flock", without)
    with pytest.raises(StagewiseError, match=r"cannot be locked .* clone it to one that has"):
        workflow.acquire(tmp_path / "lock")


def test_jobs_do_not_inherit_the_lock(tiny: Copy) -> None:
    first = start(tiny, wrapped=True)
    lock = str((tiny.folder / workflow.LOCK).resolve())
    holders = {
        process.pid
        for process in alive_in(tiny.folder)
        if lock in {file.path for file in process.open_files()}
    }
    assert holders == {first.pid}
    held = f"{first.pid} on {socket.gethostname()}\n"
    assert (tiny.folder / workflow.LOCK).read_text() == held


def test_a_job_that_is_killed_for_its_memory_is_explained_and_a_rerun_completes(
    tiny: Copy,
) -> None:
    """The message of the Snakefile's own hook, on a job that kills itself; then it does not."""
    program = tiny.folder / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    text = KILLED.replace("{program}", str(tiny.folder))
    (tiny.folder / "Snakefile").write_text(text)
    output = tiny.run(tiny.wrapped("-c1"), status=1)
    assert "workflow: all was killed: job.log ends without an error" in output
    assert "goes on where it was" in output
    assert not (tiny.folder / "done.txt").exists()
    program.write_text("#!/bin/sh\necho done\n")
    tiny.run(tiny.wrapped("-c1"))
    assert (tiny.folder / "done.txt").exists()


def test_the_snakefile_has_that_hook() -> None:
    main = (ROOT / "Snakefile").read_text(encoding="utf-8")
    hook = KILLED.partition("onerror:")[2].partition("\n\n")[0]
    assert f"onerror:{hook}" in main
    assert "onstart:\n    start_or_refuse(" in main


def test_it_says_where_it_must_be_run(tmp_path: Path) -> None:
    with pytest.raises(StagewiseError, match="has no Snakefile"):
        workflow.prepare(tmp_path)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/v/bin/python", "-m", "snakemake", "-n"], True),
        (["/v/bin/python", "/v/bin/snakemake", "all"], True),
        (["snakemake"], True),
        (["/v/bin/python", "-m", "stagewise.cli.scheduler", "all"], True),
        (["/v/bin/python", "-m", "snakemake", "--force", "--mode", "remote"], False),
        (["/v/bin/python", "-m", "snakemake", "--mode", "default"], True),
        (["vim", "notes/snakemake.md"], False),
        (["python", "-m", "stagewise.cli.toy_train", "snakemake"], False),
        ([], False),
    ],
)
def test_it_knows_snakemake(command: list[str], expected: bool) -> None:
    assert workflow.is_snakemake(command) is expected
