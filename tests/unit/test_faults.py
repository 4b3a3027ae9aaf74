"""What goes wrong ends in a message that names file and remedy, and a rerun that completes."""

import errno
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from stagewise.cli import toy_estimate, workflow
from stagewise.cli.faults import explain, refuse_closed
from stagewise.cli.stage import stage
from stagewise.errors import SchemaError, StagewiseError
from stagewise.files import atomic_path, write_json
from stagewise.storage import scores, trace
from support.traces import make_trace

SETTINGS = (
    '{"tree": {"branching": [2, 2], "nested": null, "feature_weights": [1.0, 1.0, 1.0]},'
    ' "diagnostics": null}'
)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A trace of four items that estimates can be made of."""
    path = tmp_path / "trace.nc"
    losses = np.random.default_rng(0).normal(size=(2, 4, 8, 4))
    trace.write(make_trace(losses, step=[0, 10]), path)
    return path


def estimate(path: Path) -> int:
    out = path.with_name("bif.nc")
    return toy_estimate.main(["--settings", SETTINGS, "--trace", str(path), "--out", str(out)])


def test_a_truncated_trace_is_named_and_a_new_one_completes(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: len(content) // 2])
    assert estimate(whole) == 2
    error = capsys.readouterr().err
    assert f"{whole} cannot be read as netCDF, it is truncated" in error
    assert "delete it and run the stage that makes it again" in error
    assert not whole.with_name("bif.nc").exists()
    whole.write_bytes(content)
    assert estimate(whole) == 0
    assert scores.read(whole.with_name("bif.nc")).sizes["query"] == 4


def test_a_flipped_bit_of_a_trace_is_an_error_not_a_result(whole: Path) -> None:
    """Catches files without checksums: most bits of a loss are noise that nothing else sees."""
    content = bytearray(whole.read_bytes())
    values = trace.read(whole)["excess_loss"].values
    place = content.find(values[0, 0, 0].tobytes())
    assert place > 0, "the losses lie as they are in the file"
    content[place] ^= 1
    whole.write_bytes(content)
    with pytest.raises(SchemaError, match=r"trace\.nc cannot be read.*delete it and run"):
        trace.read(whole)


def test_a_full_disk_in_the_middle_of_a_stage_is_named_and_a_rerun_completes(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert estimate(whole) == 2
    error = capsys.readouterr().err
    assert "bif.nc: no space left; nothing was written. Free space there" in error
    assert sorted(os.listdir(whole.parent)) == ["trace.nc"]
    assert estimate(whole) == 0


def as_nobody(folder: Path, answers: object) -> None:
    """Writes into a folder with the rights of a user who has none there."""
    if os.geteuid() == 0:
        os.setuid(65534)
    for action in (
        lambda: write_json(folder / "new" / "a.json", {}),
        lambda: write_json(folder / "a.json", {}),
        lambda: refuse_closed([str(folder)]),
        lambda: workflow.acquire(folder / ".snakemake" / "lock"),
    ):
        try:
            action()
            answers.put("written")
        except StagewiseError as error:
            answers.put(str(error))


def test_a_read_only_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    """With real rights: in a process of its own that gives up root's, if it has them."""
    folder = tmp_path / "results"
    folder.mkdir(mode=0o555)
    for above in (tmp_path, *tmp_path.parents):
        if above == Path(tempfile.gettempdir()):
            break
        above.chmod(0o755)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=as_nobody, args=(folder, answers))
    child.start()
    found = [answers.get(timeout=120) for _ in range(4)]
    child.join()
    for message in found:
        assert str(folder) in message
        assert "writable for you" in message
    folder.chmod(0o755)
    write_json(folder / "a.json", {})


def test_a_file_that_a_block_cannot_read_keeps_its_own_error(tmp_path: Path) -> None:
    """Catches "could not write" said of an input."""
    other = PermissionError(errno.EACCES, "Permission denied", "/elsewhere/input.nc")
    with pytest.raises(PermissionError), atomic_path(tmp_path / "out.nc"):
        raise other


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8.00 TiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried 8 TiB"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried 8 TiB"),
    ],
)
def test_a_refused_allocation_is_a_message(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def sample(trace: Path) -> None:
        raise error

    assert stage(sample)(["--trace", "a.nc"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "out of memory" in message
    assert "--cores 1" in message


def test_another_runtime_error_keeps_its_traceback() -> None:
    def sample(trace: Path) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        stage(sample)(["--trace", "a.nc"])


FAILED = """\
Error in rule toy_sample:
    message: None
    jobid: 1
    output: results/trace.nc
    log: {log} (check log file(s) for error details)
    shell:
        python -m stagewise.cli.toy_sample --settings '{{}}' > {log} 2>&1
        (command exited with non-zero exit code)
"""


@pytest.mark.parametrize(
    ("own", "killed"),
    [
        ("", True),
        ("main:  40%|####      | 8/20", True),
        ("toy_sample: trace a.nc is truncated: delete it\n", False),
        ("Traceback (most recent call last):\n  File\nValueError: bug\n", False),
    ],
)
def test_a_job_that_died_without_a_word_is_explained(
    own: str, killed: bool, tmp_path: Path
) -> None:
    log, run = tmp_path / "job.log", tmp_path / "snakemake.log"
    log.write_text(own)
    run.write_text(FAILED.format(log=log))
    found = explain([run])
    assert len(found) == killed
    if killed:
        assert f"toy_sample was killed: {log} ends without an error" in found[0]
        assert "--cores 1" in found[0]
        assert "goes on where it was" in found[0]


#: As Snakemake words a job of Slurm: behind the job's log its own, and the id that Slurm gave it.
SUBMITTED = """\
Error in rule toy_sample:
    message: None
    jobid: 1
    output: results/trace.nc
    log: {log}, .snakemake/slurm_logs/rule_toy_sample/7.log (check log file(s) for error details)
    shell:
        python -m stagewise.cli.toy_sample --settings '{{}}' > {log} 2>&1
        (command exited with non-zero exit code)
    external_jobid: 7
"""
GROUP = """\
    message: SLURM-job '9' failed, SLURM status is: 'TIMEOUT'.
    log: .snakemake/slurm_logs/group/9.log (check log file(s) for error details)
    jobs:
        rule toy_train:
            jobid: 3
            output: {done}
            log: {done}.log (check log file(s) for error details)
        rule toy_modes:
            jobid: 4
            output: {folder}/removed.nc
            log: {folder}/removed.log (check log file(s) for error details)
        rule toy_sample:
            jobid: 1
            output: {folder}/a.nc, {folder}/b.nc
            log: {log} (check log file(s) for error details)
        rule toy_law:
            jobid: 2
            output: {folder}/law.nc
            log: {folder}/law.log (check log file(s) for error details)
Logfile of something else
"""


@pytest.mark.parametrize("text", [SUBMITTED, GROUP])
@pytest.mark.parametrize(
    ("own", "killed"),
    [("main:  40%|####      | 8/20\n", True), ("toy_sample: trace a.nc is truncated\n", False)],
)
def test_a_job_of_a_cluster_is_explained_by_its_scheduler(
    text: str, own: str, killed: bool, tmp_path: Path
) -> None:
    """Catches two logs read as one path, and a group whose finished or waiting jobs are blamed."""
    log, run, done = tmp_path / "job.log", tmp_path / "snakemake.log", tmp_path / "done.nc"
    log.write_text(own)
    done.touch()
    (tmp_path / "removed.log").write_text("ended before the others\n")
    os.utime(tmp_path / "removed.log", (0, 0))
    done.with_name("done.nc.log").write_text("step 5 of 5\n")
    run.write_text(text.format(log=log, done=done, folder=tmp_path))
    found = explain([run])
    assert len(found) == killed
    if killed:
        assert f"toy_sample was killed: {log} ends without an error" in found[0]
        assert "--set-resources toy_sample:mem_mb=MB" in found[0]
        assert "--cores" not in found[0]
