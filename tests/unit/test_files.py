"""Files are whole or absent, whatever happens to the writer."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from stagewise.errors import BusyError, SchemaError, StagewiseError
from stagewise.files import (
    WENT_ON,
    atomic_path,
    exclusive_lock,
    read_json,
    scratch_folder,
    sha256_file,
    sha256_json,
    write_json,
)


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _fail_halfway(target: Path, error: BaseException) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def _fail_in_scratch(root: Path, identity: dict[str, object]) -> None:
    with scratch_folder(root, identity) as folder:
        (folder / "state").write_text("half")
        raise KeyboardInterrupt


def _lock_twice_and_fail(path: Path) -> None:
    with exclusive_lock(path):
        with pytest.raises(BusyError), exclusive_lock(path):
            pass
        raise ValueError("mine")


def test_a_new_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """Catches a temporary that is left behind, or a parent folder that must exist."""
    target = tmp_path / "deep" / "table.csv"
    for text in ("old", "new"):
        with atomic_path(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == ".csv"
            temporary.write_text(text)
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError("other")])
def test_an_error_keeps_the_old_file_and_removes_the_temporary(
    tmp_path: Path, error: BaseException
) -> None:
    """Catches cleaning up after Exception only: Ctrl-C is none."""
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)):
        _fail_halfway(target, error)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_does_not_remove_the_old_file(tmp_path: Path) -> None:
    """Catches publishing by delete and rename."""
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass
    assert target.read_text() == "old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_the_remedy(tmp_path: Path, number: int) -> None:
    """Catches a bare OSError, and an old file lost to a full disk."""
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(StagewiseError, match=r"a\.txt.*old file is intact.*Free space"):
        _fail_halfway(target, OSError(number, os.strerror(number)))
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_netcdf_write_that_runs_out_of_room_is_named_too(tmp_path: Path) -> None:
    """Catches HDF5 taking the process down when its disk is full. A file-size limit stands in."""
    code = """
        import resource, signal, sys
        import numpy as np, xarray as xr
        from stagewise.errors import StagewiseError
        from stagewise.storage import netcdf
        small, large = (xr.Dataset({"x": ("i", np.ones(size))}) for size in (10, 10**6))
        netcdf.write(small, sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            netcdf.write(large, sys.argv[1])
        except StagewiseError as error:
            print(error)
        print(netcdf.read(sys.argv[1]).sizes["i"])
    """
    out, err = _start(code, tmp_path / "x.nc").communicate(timeout=300)
    assert "old file is intact" in out, err
    assert out.splitlines()[-1] == "10"
    assert os.listdir(tmp_path) == ["x.nc"]


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path: Path) -> None:
    """Catches writing in place: kill -9 runs no handler."""
    target = tmp_path / "a.txt"
    target.write_text("old")
    code = """
        import sys, time
        from stagewise.files import atomic_path
        with atomic_path(sys.argv[1]) as temporary:
            temporary.write_text("half")
            print("half", flush=True)
            time.sleep(60)
    """
    writer = _start(code, target)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.kill()
    writer.communicate()
    assert target.read_text() == "old"


def test_json_is_sorted_ends_with_a_newline_and_takes_numpy(tmp_path: Path) -> None:
    """Catches files that differ by key order or by the type of a number."""
    path = tmp_path / "a.json"
    write_json(path, {"b": np.float32(0.5), "a": np.arange(2), "c": {"y": None, "x": True}})
    text = path.read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["a", "b", "c"]
    assert read_json(path) == {"a": [0, 1], "b": 0.5, "c": {"x": True, "y": None}}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float64("nan"), np.array([np.nan])]
)
def test_json_refuses_what_it_cannot_hold_and_names_the_key(tmp_path: Path, value: object) -> None:
    """Catches NaN written as the word NaN, which other readers reject."""
    path = tmp_path / "a.json"
    with pytest.raises(StagewiseError, match=r"\$\.a\[1\]\.b.*None"):
        write_json(path, {"a": [1, {"b": value}]})
    assert not path.exists()


def test_json_that_is_missing_or_cut_is_named(tmp_path: Path) -> None:
    """Catches a traceback where a remedy belongs."""
    with pytest.raises(SchemaError, match="does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"a": 1')
    with pytest.raises(SchemaError, match=r"cut\.json.*delete it"):
        read_json(tmp_path / "cut.json")


def test_hashes_depend_on_content_only(tmp_path: Path) -> None:
    """Catches hash(), which differs between processes, and key order."""
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "a") == known
    assert sha256_json({"a": 1, "b": [1.5]}) == sha256_json({"b": [1.5], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": "1"})
    assert sha256_json({"a": np.int64(1)}) == sha256_json({"a": 1})


_HOLDER = """
    import subprocess, sys, time
    from stagewise.files import exclusive_lock
    with exclusive_lock(sys.argv[1]):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(["sleep", "60"], close_fds=False, **quiet)
        print(child.pid, flush=True)
        time.sleep(60)
"""


def test_a_held_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    """Catches a lock that outlives a killed holder through the children it started."""
    path = tmp_path / "job.lock"
    holder = _start(_HOLDER, path)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(BusyError, match=str(holder.pid)), exclusive_lock(path):
            pass
        holder.kill()
        holder.communicate()
        with exclusive_lock(path):
            assert path.read_text().strip() == str(os.getpid())
    finally:
        os.kill(child, signal.SIGKILL)
    assert not path.exists()


def test_a_lock_is_exclusive_within_one_process_and_free_again_after_an_error(
    tmp_path: Path,
) -> None:
    """Catches lockf-style locks, which a process can take twice."""
    path = tmp_path / "job.lock"
    with pytest.raises(ValueError, match="mine"):
        _lock_twice_and_fail(path)
    with exclusive_lock(path):
        pass


def test_many_processes_never_hold_one_lock_at_once(tmp_path: Path) -> None:
    """Catches the race between removing a lock file and locking it."""
    code = """
        import os, sys
        from stagewise.errors import BusyError
        from stagewise.files import exclusive_lock
        taken = 0
        while taken < 100:
            try:
                with exclusive_lock(sys.argv[1]):
                    os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
                    os.unlink(sys.argv[2])
                    taken += 1
            except BusyError:
                pass
    """
    racers = [_start(code, tmp_path / "l.lock", tmp_path / "inside") for _ in range(3)]
    for racer in racers:
        _, err = racer.communicate(timeout=300)
        assert racer.returncode == 0, err


def test_scratch_is_resumed_after_a_failure_and_gone_after_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches state thrown away by an error, kept for a job that is done, or used in silence."""
    identity = {"seed": 1, "settings": {"a": 2}}
    with pytest.raises(KeyboardInterrupt):
        _fail_in_scratch(tmp_path, identity)
    assert capsys.readouterr().err == ""
    with scratch_folder(tmp_path, identity) as again:
        assert capsys.readouterr().err == f"{WENT_ON}\n"
        assert (again / "state").read_text() == "half"
        assert read_json(again / "identity.json") == identity
        with pytest.raises(BusyError), scratch_folder(tmp_path, identity):
            pass
    assert os.listdir(tmp_path) == []


def test_scratch_of_another_identity_is_another_folder(tmp_path: Path) -> None:
    """Catches resuming from the state of other settings."""
    with scratch_folder(tmp_path, {"seed": 1}) as one, scratch_folder(tmp_path, {"seed": 2}) as two:
        assert one != two
