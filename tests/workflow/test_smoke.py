"""The whole workflow on the smoke configuration, and what people ask of Snakemake."""

import json
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from support.repository import ROOT, SNAKEMAKES
from support.workflow import SMOKE, Copy, Finished, copy_repository, load_imports

HEAVY = {"torch", "xarray", "scipy", "matplotlib", "sklearn", "arviz", "typst"}


def test_it_leaves_the_paper_and_its_numbers(smoke: Copy) -> None:
    paper = smoke.folder / "results/smoke/paper"
    assert (paper / "main.pdf").read_bytes().startswith(b"%PDF")
    assert len(json.loads((paper / "generated/numbers.json").read_text())) > 20
    assert not (smoke.folder / "paper/main.pdf").exists()
    assert {path.name for path in (smoke.folder / "results").iterdir()} == {"smoke"}


def test_the_code_listed_for_a_stage_is_the_code_that_it_ran(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = finished.copy.folder / "src"
    monkeypatch.chdir(source)
    code = load_imports(source).code
    witnesses = finished.stages()
    assert len(witnesses) > 10
    for stage, notes in witnesses.items():
        if stage not in SNAKEMAKES:
            listed = set(code(stage))
            for witness in notes:
                assert set(witness["files"]) - listed == set(), stage


def test_every_stage_has_the_threads_of_its_rule(finished: Finished) -> None:
    plan = finished.copy.run(finished.copy.command("-n", "--forceall", "all", *SMOKE))
    threads = {}
    for block in plan.split("\n\n"):
        if rule := re.search(r"^(?:local)?rule (\w+):$", block, flags=re.MULTILINE):
            stated = re.search(r"^    threads: (\d+)$", block, flags=re.MULTILINE)
            threads[f"stagewise.cli.{rule[1]}"] = stated[1] if stated else "1"
    for stage, notes in finished.stages().items():
        for witness in notes:
            if stage in threads:
                assert witness["omp_num_threads"] == threads[stage], stage
                assert witness["torch_threads"] in (None, int(threads[stage])), stage


def test_reading_the_workflow_imports_nothing_heavy(finished: Finished) -> None:
    readers = finished.stages()["stagewise.cli.scheduler"]
    assert readers
    for witness in readers:
        assert HEAVY & set(witness["packages"]) == set()


def test_a_job_on_a_cluster_reads_the_workflow_faster_than_snakemake_starts(tmp_path: Path) -> None:
    """Each does it again, with the code that was found when the run began.

    In CPU time, so that other processes hardly count, and against another Python program, so that
    a slow machine does not count.
    """
    copy = copy_repository(tmp_path / "repository")
    (tmp_path / "Snakefile").write_text("rule all:\n")
    empty = Copy(tmp_path, copy.environment)

    copy.run(copy.command("--list-rules"))

    def cost(copy: Copy) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        copy.run(copy.command("--list-rules", "--mode", "remote"))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    start = cost(empty)
    assert cost(copy) - start < start


def test_the_report_shows_every_figure_with_its_caption(smoke: Copy, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    smoke.run(smoke.command("all", *SMOKE, "--report", str(path)))
    report = path.read_text(encoding="utf-8")
    for figure in (smoke.folder / "results/smoke/paper/figures").glob("*.png"):
        assert figure.stem in report
    assert "Coarse distinctions are learned first" in report


def test_a_printed_command_can_be_pasted(smoke: Copy, tmp_path: Path) -> None:
    """Started cold, it gives what the fork of a warm Python gave."""
    plan = smoke.run(smoke.command("-n", "--forceall", "toy", *SMOKE))
    command = re.search(r"(python -m stagewise\.cli\.toy_train .*)", plan)[1]
    out = tmp_path / "training.nc"
    command = re.sub(r"--out \S+ > \S+", f"--out {out} > {tmp_path}/log", command)
    path = f"{Path(sys.executable).parent}:{smoke.environment['PATH']}"
    environment = smoke.environment | {"PATH": path}
    subprocess.run(["bash", "-c", command], cwd=smoke.folder, env=environment, check=True)
    tree = json.loads(shlex.split(command)[4])["name"]
    made = smoke.folder / f"results/smoke/toy/{tree}/training.nc"
    assert out.stat().st_size == made.stat().st_size
    with xr.open_dataset(out) as pasted, xr.open_dataset(made) as forked:
        assert pasted.equals(forked)


def test_the_conda_environment_is_that_of_the_lock(tmp_path: Path) -> None:
    """Remedy: ``.venv/bin/python -m stagewise.cli.environment``."""
    from stagewise.cli import environment

    committed = ROOT / "workflow/envs/stagewise.yaml"
    lock = ROOT / "requirements.lock"
    made = tmp_path / "stagewise.yaml"
    assert environment.main(["--lock", str(lock), "--out", str(made)]) == 0
    assert made.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")
