"""A fault in a job, in the node or in Snakemake itself costs what was at work, and nothing else."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import xarray as xr

from support.slurm import PATIENCE_SECONDS, SUBMITTED, await_value, queue, slurm, through_slurm
from support.workflow import SMOKE, Copy, copy_repository

#: Chains that are at work for some seconds, one job of the group toy_chains for each seed.
PATIENT = """
toy: {training: {seeds: 3}, sampling: {main: {draws: 100, spacing: 400, seeds: [0, 1, 2]}}}
"""
WRONG = "toy: {trees: {balanced: {branching: null, nested: [[a, a], [b, c]]}}}"
CONFIG = (*SMOKE, "patient.yaml")
SEEDS = (0, 1, 2)
MODES = "results/smoke/toy/balanced/modes.nc"
TRAINING = "results/smoke/toy/balanced/training.nc"
#: The executor looks at the queue every three minutes at the latest; one look finds the failed job,
#: and Snakemake ends with the next.
SOON_SECONDS = 2 * 180.0


def scores(seed: int) -> str:
    return f"results/smoke/toy/balanced/bif/main/seed{seed}.nc"


def patient_copy(folder: Path) -> Copy:
    copy = copy_repository(folder)
    (folder / "patient.yaml").write_text(PATIENT, encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the targets were made without Slurm."""
    copy = patient_copy(tmp_path_factory.mktemp("local"))
    copy.run(copy.wrapped(*map(scores, SEEDS), *CONFIG))
    return copy


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the training is done, and in which each test makes one target."""
    copy = patient_copy(tmp_path_factory.mktemp("faults"))
    copy.run(copy.wrapped(TRAINING, *CONFIG))
    return copy


def start(copy: Copy, *targets: str) -> subprocess.Popen:
    """Starts Snakemake; none of its output is lost when it is killed."""
    with (copy.folder / "output.txt").open("w") as stream:
        return subprocess.Popen(
            through_slurm(copy, *targets, *CONFIG),
            cwd=copy.folder,
            env=copy.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def output(copy: Copy) -> str:
    return (copy.folder / "output.txt").read_text(encoding="utf-8")


def await_chains(copy: Copy, seed: int) -> str:
    """The id of the job whose chains of one seed have begun."""
    log = copy.folder / f"results/smoke/logs/toy_sample/balanced_main_seed{seed}.log"
    await_value(lambda: log.exists() and "the trace will take" in log.read_text())
    (job,) = queue("RUNNING")
    return job


def assert_as_if_nothing_had_happened(copy: Copy, local: Copy, seed: int) -> None:
    """What the target holds is what a run without Slurm and without faults makes, bit for bit."""
    with xr.open_dataset(copy.folder / scores(seed)) as found:
        with xr.open_dataset(local.folder / scores(seed)) as wanted:
            assert found.equals(wanted)


def test_a_failing_job_ends_the_run_soon_and_its_log_is_named(tmp_path: Path) -> None:
    copy = copy_repository(tmp_path)
    (tmp_path / "wrong.yaml").write_text(WRONG, encoding="utf-8")
    said = copy.run(through_slurm(copy, TRAINING, *SMOKE, "wrong.yaml"), status=1)
    ended = time.time()
    log = "results/smoke/logs/toy_train/balanced.log"
    assert log in said
    assert "toy_train: " in said
    assert SUBMITTED.search(said)[2] in said.partition("Error in")[2]
    assert ended - (tmp_path / log).stat().st_mtime < SOON_SECONDS


def test_a_cancelled_job_fails_alone_and_is_made_by_the_next_run(copy: Copy, local: Copy) -> None:
    trained = (copy.folder / TRAINING).stat().st_mtime_ns
    process = start(copy, scores(0))
    job = await_chains(copy, 0)
    slurm("scancel", job)
    assert process.wait(timeout=SOON_SECONDS) == 1
    logs = dict(SUBMITTED.findall(output(copy)))
    assert logs[job] in output(copy).partition("Error in")[2]
    assert not (copy.folder / scores(0)).exists()
    copy.run(through_slurm(copy, scores(0), *CONFIG))
    assert_as_if_nothing_had_happened(copy, local, 0)
    assert (copy.folder / TRAINING).stat().st_mtime_ns == trained


def test_a_killed_snakemake_is_followed_by_one_that_ends_its_jobs_and_goes_on(
    copy: Copy, local: Copy
) -> None:
    process = start(copy, scores(1))
    job = await_chains(copy, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert job in queue("RUNNING"), "a job of Slurm outlives the Snakemake that submitted it"
    said = copy.run(through_slurm(copy, scores(1), *CONFIG))
    assert "cancelled 1 jobs of a run that was killed" in said
    assert "unlocked after a run that was killed" in said
    assert job not in {again for again, _ in SUBMITTED.findall(said)}
    assert_as_if_nothing_had_happened(copy, local, 1)


def test_while_the_node_is_drained_jobs_wait_and_nothing_is_lost(
    copy: Copy, local: Copy, node: str
) -> None:
    """The job at work ends; the one that is submitted meanwhile starts when the node is back."""
    process = start(copy, scores(2), MODES, "--jobs", "1")
    (first,) = await_value(lambda: queue("RUNNING"))
    slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    (second,) = await_value(lambda: queue("PENDING"))
    assert queue() == {second: "PENDING"}
    slurm("scontrol", "update", f"nodename={node}", "state=resume")
    assert process.wait(timeout=PATIENCE_SECONDS) == 0, output(copy)
    assert [job for job, _ in SUBMITTED.findall(output(copy))] == [first, second]
    assert (copy.folder / MODES).exists()
    assert_as_if_nothing_had_happened(copy, local, 2)
