"""What Slurm gives a job is what its rule asked for: threads, and a GPU of its own."""

import os
import re
from pathlib import Path

from stagewise.cli.watchdog import VARIABLE
from support.repository import ROOT
from support.slurm import PROFILE, SUBMITTED, tiny_workflow

#: Two jobs that want a GPU and wait for each other, one with two threads, one that stays here.
RULES = """
localrules: here

rule all:
    input: "gpu_0.txt", "gpu_1.txt", "threads.txt", "here.txt"

rule gpu:
    output: "gpu_{i}.txt"
    resources: gpu=1, mem_mb=100, runtime=5
    shell:
        "touch started_{wildcards.i};"
        " for tick in $(seq 600); do test -e started_0 -a -e started_1 && break; sleep 0.1; done;"
        " echo $SLURM_JOB_ID $CUDA_VISIBLE_DEVICES > {output}"

rule threads:
    output: "threads.txt"
    threads: 2
    resources: mem_mb=100, runtime=5
    shell: "echo $SLURM_JOB_ID $OMP_NUM_THREADS $SLURM_CPUS_PER_TASK > {output}"

rule here:
    output: "here.txt"
    shell: "echo ${{SLURM_JOB_ID:-none}} > {output}"
"""


#: The profile that the documentation gives for schedulers other than Slurm.
SNIPPET = re.search(
    r"```yaml\n(executor: cluster-generic\n.*?)```",
    (ROOT / "docs/cluster.md").read_text(encoding="utf-8"),
    flags=re.DOTALL,
)[1]
SUBMITTED_GENERIC = re.compile(r"Submitted job \d+ with external jobid '(\d+)'")


def run_rules(folder: Path, *profile: str) -> str:
    """Runs the rules and returns what Snakemake says."""
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    copy = tiny_workflow(folder, RULES, environment)
    (folder / "profiles/generic").mkdir()
    (folder / "profiles/generic/profile.yaml").write_text(SNIPPET, encoding="utf-8")
    return copy.run(copy.wrapped(*profile))


def assert_given_what_was_asked_for(folder: Path, submitted: set[str]) -> None:
    """Catches a GPU lent twice, threads that stay at one, and a local rule that is submitted."""

    def words(name: str) -> list[str]:
        return (folder / f"{name}.txt").read_text().split()

    first, second, threads = words("gpu_0"), words("gpu_1"), words("threads")
    assert {first[0], second[0], threads[0]} == submitted
    assert len(submitted) == 3
    assert {first[1], second[1]} == {"0", "1"}
    assert threads[1:] == ["2", "2"]
    assert words("here") == ["none"]


def test_threads_and_gpus_are_those_of_the_rules(tmp_path: Path) -> None:
    output = run_rules(tmp_path, *PROFILE)
    assert_given_what_was_asked_for(tmp_path, {job for job, _ in SUBMITTED.findall(output)})


def test_the_documented_profile_for_other_schedulers_does_the_same(tmp_path: Path) -> None:
    output = run_rules(tmp_path, "--workflow-profile", "profiles/generic")
    assert_given_what_was_asked_for(tmp_path, set(SUBMITTED_GENERIC.findall(output)))
