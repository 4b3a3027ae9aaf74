"""The whole workflow at tiny size as jobs of Slurm: it gives what a run without Slurm gives."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
import yaml

from stagewise.files import write_json
from stagewise.storage.metrics import number, write_numbers
from support.repository import ROOT
from support.slurm import SUBMITTED, through_slurm
from support.warm.start import warmed
from support.workflow import SMOKE, Copy, Finished, copy_repository, noted, watched

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text(encoding="utf-8"))
GROUPS = sorted({entry.partition("=")[2] for entry in PROFILE["groups"]})
#: At tiny size eight jobs of any kind are short.
GROUPED = ("--group-components", *(f"{group}=8" for group in GROUPS))
#: Rules that stay with Snakemake, by the stage that they run.
LOCAL = re.search(
    r"localrules:\n((?:    \w+,\n)+)", (ROOT / "Snakefile").read_text(encoding="utf-8")
)[1].split()
#: What the act makes of its chains, in every act: a chain of jobs from the data to the estimates.
RESULTS = Path("results/smoke")
SAME = (
    "toy/balanced/bif/main/seed0.nc",
    "toy/balanced/law/main.nc",
    "calibration/digits/runs/sgld_full.nc",
    "language/text/seed1/training.nc",
    "vision/glyphs/training_clean.nc",
    "retraining/digits_cnn/targets_tuning_a50.nc",
)
#: The same with chains, checkpoints and seeds cut into other jobs than config/smoke.yaml has.
CUT = """
language:
  runs:
    triggers: { sampling: { checkpoint_block: 1, chain_block: 8 } }
vision:
  runs:
    glyphs: { sampling: { chain_block: 2 } }
multitask:
  rows:
    shared: { block: 1 }
"""
INFLUENCE = "language/triggers/seed1/influence.nc"
KERNEL = "vision/glyphs/kernels/main_1.nc"
SHARED = "multitask/kernels/shared_1.nc"
#: A loss is a mean of at most a thousand float32 terms, whose order the size of a batch decides;
#: the chains are too short for the roundings to grow, and an estimate is a mean of such losses.
ROUNDING = 1000 * 2.0**-24
#: Wall and processor time, and what is derived from them, is no result.
TIMES = re.compile("second|time|cost|speed")


class Slurm(NamedTuple):
    """A run through Slurm: the copy and its processes' notes, what Snakemake said, minutes."""

    finished: Finished
    output: str
    minutes: float


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Slurm:
    copy = copy_repository(tmp_path_factory.mktemp("slurm") / "repository")
    notes = tmp_path_factory.mktemp("witness")
    with warmed(watched(copy, notes)) as warm:
        begun = time.monotonic()
        output = warm.run(through_slurm(warm, "all", *SMOKE, *GROUPED))
    minutes = (time.monotonic() - begun) / 60
    return Slurm(noted(copy, notes), output, minutes)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which a few targets of every act were made without Slurm, in other blocks."""
    copy = copy_repository(tmp_path_factory.mktemp("local"))
    (copy.folder / "cut.yaml").write_text(CUT, encoding="utf-8")
    wanted = [str(RESULTS / name) for name in (*SAME, INFLUENCE, KERNEL, SHARED)]
    with warmed(watched(copy, tmp_path_factory.mktemp("unread"))) as warm:
        warm.run(warm.wrapped(*wanted, *SMOKE, "cut.yaml"))
    return copy


def pair(run: Slurm, local: Copy, name: str) -> Iterator[xr.Dataset]:
    """A file of both runs."""
    for folder in (run.finished.copy.folder, local.folder):
        with xr.open_dataset(folder / RESULTS / name) as opened:
            yield opened.load()


def test_it_leaves_the_paper_and_nothing_to_do(run: Slurm) -> None:
    copy = run.finished.copy
    paper = copy.folder / RESULTS / "paper"
    assert (paper / "main.pdf").read_bytes().startswith(b"%PDF")
    assert len(json.loads((paper / "generated/numbers.json").read_text())) > 20
    # Another profile, other groups, no Slurm: none of that makes a job run again.
    assert "Nothing to be done" in copy.run(copy.wrapped("all", *SMOKE))


@pytest.mark.parametrize("name", SAME)
def test_results_are_those_of_a_run_without_slurm_bit_for_bit(
    run: Slurm, local: Copy, name: str
) -> None:
    found, wanted = pair(run, local, name)
    times = [variable for variable in found.variables if TIMES.search(str(variable))]
    assert found.drop_vars(times).equals(wanted.drop_vars(times))


def assert_close(found: xr.Dataset, wanted: xr.Dataset) -> None:
    """All numbers agree to the roundings of the losses that they come from."""
    assert set(found.variables) == set(wanted.variables)
    for name, variable in found.variables.items():
        if np.issubdtype(variable.dtype, np.floating) and not TIMES.search(str(name)):
            size = float(np.nanmax(np.abs(variable.values), initial=0.0))
            np.testing.assert_allclose(
                variable.values, wanted[name].values, rtol=0, atol=ROUNDING * size, err_msg=name
            )


@pytest.mark.parametrize("name", [INFLUENCE, KERNEL])
def test_how_chains_and_checkpoints_are_cut_into_jobs_changes_nothing(
    run: Slurm, local: Copy, name: str
) -> None:
    assert_close(*pair(run, local, name))


def test_how_seeds_are_cut_into_jobs_changes_nothing(run: Slurm, local: Copy) -> None:
    both, first = pair(run, local, SHARED)
    assert both.sizes["checkpoint"] == 2 * first.sizes["checkpoint"]
    assert_close(both.isel(checkpoint=slice(first.sizes["checkpoint"])), first)


def test_every_stage_has_the_threads_of_its_rule(run: Slurm) -> None:
    for stage, notes in run.finished.stages().items():
        # Rules that time something take what the profile calls cores, all others one.
        threads = str(PROFILE["cores"]) if stage.endswith("throughput") else "1"
        for witness in notes:
            if witness["slurm_job"] is not None:
                assert witness["omp_num_threads"] == threads, stage
                assert witness["torch_threads"] in (None, int(threads)), stage


def test_local_rules_stay_and_all_others_are_submitted(run: Slurm) -> None:
    here = [name.strip(",") for name in LOCAL] + ["timing", "workflow", "scheduler"]
    stay = {f"stagewise.cli.{name}" for name in here}
    submitted = {job for job, _ in SUBMITTED.findall(run.output)}
    for stage, notes in run.finished.stages().items():
        for witness in notes:
            if stage in stay:
                assert witness["slurm_job"] is None, stage
            else:
                assert witness["slurm_job"] in submitted, stage


def test_what_it_took_is_noted(run: Slurm) -> None:
    """`make expected-cluster` makes a record of it."""
    jobs = len(SUBMITTED.findall(run.output))
    assert 20 < jobs < len(re.findall(r"^ *rule \w+:$", run.output, flags=re.MULTILINE))

    folder = ROOT / "results/cluster"
    folder.mkdir(parents=True, exist_ok=True)
    minutes = number(run.minutes, n=1, unit="min", source="test-cluster")
    numbers = {
        "cluster.smoke.minutes": minutes,
        "cluster.jobs": number(jobs, source="test-cluster"),
    }
    write_numbers(numbers, folder / "numbers.json")
    made = run.finished.copy.folder / RESULTS / "paper/generated/settings.json"
    write_json(folder / "settings.json", json.loads(made.read_text(encoding="utf-8")))
