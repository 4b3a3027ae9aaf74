"""What reruns after an edit of code or of a setting, and what does not."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stagewise.cli import archive
from support.workflow import SMOKE, Copy

TARGETS = ("all", "tables", "figures")
#: What follows from new tables whatever changed them.
PAPER = {"toy_timing", "run_timing", "numbers", "paper", "all"}
DRAWN = {"figure", "figures", "run_timing", "numbers", "paper", "all"}
COMPARED = {"toy_tables", "toy_agreement", "toy_diagnostics", "tables"}
ESTIMATED = COMPARED | {"toy_estimate", "toy_sweep_table"} | DRAWN | PAPER
CONFORMANCE = {"conformance", "conformance_table", "tables"} | DRAWN | PAPER
#: What rests on the statistics of traces, and what draws the traces too.
PROBLEMS = {"problem_calibrate", "problem_sample", "problem_table", "tables"}
LANGUAGE = {"language_influence", "language_tables", "language_timing"}
MULTITASK = {"multitask_kernel", "multitask_tables", "multitask_timing"}
CHAINS = {"calibrate", "sample", "choice", "removal", "mislabel", "tables", "timing"}
RETRAINING = {f"retraining_{job}" for job in CHAINS}
VISION = {
    f"vision_{job}" for job in ("sample", "kernel", "tables", "map", "mislabel", "join", "timing")
}
ESTIMATOR = ESTIMATED | PROBLEMS | LANGUAGE | RETRAINING | {"toy_streams"}
DRAWS = {"toy_sample", "toy_mixture", "toy_throughput", "language_sample", "multitask_sample"}
SAMPLED = DRAWS | ESTIMATOR | MULTITASK | CONFORMANCE | VISION

EDITS = {
    "plotting/toy_sweep.py": DRAWN,
    "plotting/stagewise.mplstyle": DRAWN,
    "theory/mixture.py": {"toy_mixture"} | CONFORMANCE,
    "estimators/local_learning.py": ESTIMATOR,
    "sampling/runner.py": SAMPLED,
    "evaluation/toy_sweep.py": {"toy_sweep_table", "tables"} | DRAWN | PAPER,
    "cli/paper.py": {"paper", "all"},
    "cli/check.py": set(),
    "sampling/kernels/__init__.py": SAMPLED,
}


@contextmanager
def edited(path: Path, text: str, *, newer: bool = True) -> Iterator[None]:
    """Appends to a file; with ``newer=False`` its time stamp stays what it was."""
    before, times = path.read_bytes(), os.stat(path)
    try:
        path.write_bytes(before + text.encode())
        if not newer:
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@contextmanager
def times_kept(files: Iterable[Path]) -> Iterator[None]:
    """Gives files their time stamps back, so that later plans need not compare contents again."""
    times = {file: os.stat(file) for file in files}
    try:
        yield
    finally:
        for file, before in times.items():
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def planned(smoke: Copy, *more: str) -> Counter[str]:
    return smoke.planned(*TARGETS, *SMOKE, *more)


def test_a_second_run_has_nothing_to_do(smoke: Copy) -> None:
    output = smoke.run(smoke.wrapped(*TARGETS, *SMOKE))
    assert "Nothing to be done" in output


def test_neither_a_touch_nor_a_checkout_reruns_anything(smoke: Copy) -> None:
    folders = [smoke.folder / name for name in ("src", "workflow", "config", "paper")]
    found = [smoke.folder / "Snakefile", *(file for path in folders for file in path.rglob("*"))]
    files = [file for file in found if file.is_file()]
    with times_kept(files):
        for file in files:  # written anew, as git does it
            content = file.read_bytes()
            file.unlink()
            file.write_bytes(content)
        assert planned(smoke) == Counter()


def test_not_even_touched_results_rerun_anything(smoke: Copy) -> None:
    files = list((smoke.folder / "results/smoke/toy").rglob("training.nc"))
    assert files
    with times_kept(files):
        for file in files:
            file.touch()
        assert planned(smoke) == Counter()


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_reruns_its_dependants_and_nothing_else(smoke: Copy, name: str) -> None:
    with edited(smoke.folder / "src/stagewise" / name, "\n# edited\n"):
        assert set(planned(smoke)) == EDITS[name]


@pytest.mark.parametrize("name", ["theory/mixture.py"])
def test_an_edit_is_noticed_without_a_newer_time_stamp(smoke: Copy, name: str) -> None:
    """As after an edit during the run, or a file unpacked over another one."""
    with edited(smoke.folder / "src/stagewise" / name, "\n# edited\n", newer=False):
        assert set(planned(smoke)) == EDITS[name]


def test_an_edited_figure_caption_reruns_nothing(smoke: Copy) -> None:
    with edited(smoke.folder / "workflow/report/figure.rst", "\nedited\n"):
        assert planned(smoke) == Counter()


def test_an_edited_text_reruns_the_paper(smoke: Copy) -> None:
    with edited(smoke.folder / "paper/sections/toy.typ", "\n// edited\n"):
        assert set(planned(smoke)) == {"paper", "all"}


SETTINGS = {
    "toy: {windows: {width: 199}}": {"toy_windows", "toy_tables", "tables"} | DRAWN | PAPER,
    "toy: {mixture: {barrier: 0.2}}": {"toy_mixture", "tables"} | DRAWN | PAPER,
    "toy: {diagnostics: {rhat: {warn: 4.0}}}": ESTIMATED - {"toy_sweep_table"},
    "toy: {sampling: {mala_g100: {draws: 13}}}": (
        {"toy_sample", "toy_law", "toy_estimate", "toy_agreement", "tables"} | DRAWN | PAPER
    ),
    "name: other": {"run_timing", "numbers", "paper", "all"},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_changed_setting_reruns_the_rules_that_are_told_it(smoke: Copy, setting: str) -> None:
    (smoke.folder / "config/more.yaml").write_text(setting)
    jobs = smoke.planned(*TARGETS, *SMOKE, "config/more.yaml")
    assert set(jobs) == SETTINGS[setting]
    if "mala" in setting:  # one row
        assert jobs["toy_sample"] == jobs["toy_law"] == 1
    if "diagnostics" in setting:  # the gated row alone
        assert jobs["toy_estimate"] == 4


def test_a_seed_added_to_a_row_samples_that_seed_only(smoke: Copy) -> None:
    (smoke.folder / "config/more.yaml").write_text("toy: {sampling: {exact_g100: {seeds: [0, 1]}}}")
    jobs = smoke.planned(*TARGETS, *SMOKE, "config/more.yaml")
    trees = jobs["toy_law"]
    assert jobs["toy_sample"] == jobs["toy_estimate"] == trees
    assert jobs["toy_train"] == 0


def test_resources_and_threads_rerun_nothing(smoke: Copy) -> None:
    less = ("--cores", "1", "--resources", "gpu=0", "--set-threads", "toy_sample=1")
    assert planned(smoke, *less) == Counter()


def test_figures_are_drawn_from_an_archive_without_anything_upstream(smoke: Copy) -> None:
    """In a clone without results: the same tables give the same bytes."""
    clean = Copy(smoke.folder.parent / "clean", smoke.environment)
    for name in ("Snakefile", "config", "paper", "profiles", "src", "workflow"):
        source = smoke.folder / name
        copy = shutil.copyfile if source.is_file() else shutil.copytree
        clean.folder.mkdir(exist_ok=True)
        copy(source, clean.folder / name)
    tables, packed = smoke.folder / "results/smoke/tables", clean.folder / "archive"
    assert archive.main(["--tables", str(tables), "--out", str(packed)]) == 0
    jobs = clean.planned("figures", "--config", "tables=archive/")
    assert set(jobs) == {"figure", "figures"}
    drawn = [f"paper/figures/toy_modes.{suffix}" for suffix in ("pdf", "png")]
    clean.run(clean.wrapped(*drawn, "--config", "tables=archive/"))
    for name in drawn:
        original = smoke.folder / "results/smoke" / name
        assert (clean.folder / name).read_bytes() == original.read_bytes()
