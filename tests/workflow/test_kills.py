"""Killed at random times, a run goes on where it was and ends with the same numbers."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import xarray as xr

from stagewise.cli.workflow import ORPHAN_SECONDS
from support.workflow import SMOKE, Copy, copy_repository

#: A part of the toy smoke target that has every kind of job: training, sampling, estimating.
TARGETS = tuple(
    f"results/smoke/toy/balanced/{name}.nc" for name in ("bif/main/seed0", "bif/main/seed1")
)
KILLS = 20
SEED = 20251012
RESULTS = Path("results/smoke/toy")
#: Long after which something hangs, on a machine that other work fills too.
PATIENCE = 300.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Copy, float]:
    """A finished run of the targets, and the seconds it took."""
    copy = copy_repository(tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    copy.run(copy.wrapped(*TARGETS, *SMOKE))
    return copy, time.monotonic() - started


@pytest.fixture
def disturbed(tmp_path: Path) -> Copy:
    return copy_repository(tmp_path)


def results_of(copy: Copy) -> dict[Path, Path]:
    """Every published result, by its path in the copy; temporary files begin with a dot."""
    found = (copy.folder / RESULTS).rglob("*.nc")
    return {path.relative_to(copy.folder): path for path in found if path.name[0] != "."}


def assert_whole(copy: Copy, reference: Copy) -> None:
    """Whatever is published is complete: it equals what an undisturbed run made."""
    expected = results_of(reference)
    for name, path in results_of(copy).items():
        with xr.open_dataset(path) as found, xr.open_dataset(expected[name]) as wanted:
            assert found.equals(wanted), name


def ends_within(process: subprocess.Popen, seconds: float) -> bool:
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def jobs_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The stages that a Snakemake is running."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
        return [job for job in below if "stagewise.cli." in "".join(job.cmdline()[1:3])]
    except psutil.NoSuchProcess:
        return []


def works_in(copy: Copy) -> list[int]:
    """Ids of the live processes in the copy's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and Path(process.cwd()) == copy.folder:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def kill(process: subprocess.Popen, *, job: bool) -> str:
    """Kills a running stage, or Snakemake itself where none runs, as ``kill -9`` does."""
    running = jobs_of(process) if job else []
    os.kill(running[0].pid if running else process.pid, signal.SIGKILL)
    return "job" if running else "snakemake"


def test_any_kill_at_any_time_changes_nothing(
    disturbed: Copy, undisturbed: tuple[Copy, float]
) -> None:
    """Twenty kills, of jobs and of Snakemake by turns, at times drawn with a fixed seed.

    Each run continues the one killed before it, so that times in the first half of a run's length
    reach every stage; after a run that finished unharmed all results are deleted.
    """
    reference, seconds = undisturbed
    times = np.random.default_rng(SEED)
    killed: list[str] = []
    unlocked = 0
    while len(killed) < KILLS:
        process = disturbed.start(disturbed.wrapped(*TARGETS, *SMOKE))
        harmed = not ends_within(process, times.uniform(0, seconds / 2))
        if harmed:
            killed.append(kill(process, job=len(killed) % 2 == 0))
        output, _ = process.communicate(timeout=PATIENCE)  # until no orphan holds the pipe
        unlocked += "unlocked after a run that was killed" in output
        assert harmed or process.returncode == 0, output
        assert wait_until(lambda: not works_in(disturbed), ORPHAN_SECONDS), "an orphan lives on"
        assert_whole(disturbed, reference)
        if not harmed:
            shutil.rmtree(disturbed.folder / RESULTS)
    disturbed.run(disturbed.wrapped(*TARGETS, *SMOKE))
    assert_whole(disturbed, reference)
    assert results_of(disturbed).keys() == results_of(reference).keys()
    assert unlocked >= 3
    assert killed.count("job") >= 3
    assert "Nothing to be done" in disturbed.run(disturbed.wrapped(*TARGETS, *SMOKE))


def test_after_ctrl_c_nothing_is_locked_or_half_done(
    disturbed: Copy, undisturbed: tuple[Copy, float]
) -> None:
    reference, _ = undisturbed
    process = disturbed.start(disturbed.wrapped(*TARGETS, *SMOKE))
    assert wait_until(lambda: jobs_of(process), PATIENCE)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert not works_in(disturbed)
    assert_whole(disturbed, reference)
    output = disturbed.run(disturbed.wrapped(*TARGETS, *SMOKE))
    assert "unlocked" not in output
    assert_whole(disturbed, reference)
    assert results_of(disturbed).keys() == results_of(reference).keys()
