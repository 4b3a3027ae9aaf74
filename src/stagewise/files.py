"""Files that are whole or absent: atomic publishing, content hashes, locks, resumable scratch.

A job may be killed at any instruction. A reader must then see the old file or the new one, never
half of either, and a second writer must be turned away with the pid of the first.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stagewise.errors import BusyError, SchemaError, StagewiseError

_FULL = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded", errno.EFBIG: "file too big"}
_CLOSED = {
    errno.EACCES: "no permission",
    errno.EPERM: "not permitted",
    errno.EROFS: "the file system is read-only",
}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends without an error.

    The temporary lies in the same folder (so that the rename is one operation of one file system)
    and keeps the suffix (plotting and array libraries choose their format by it). File and folder
    are synced to disk before and after ``os.replace``. On any error, Ctrl-C included, it is removed
    and what stood at ``path`` is untouched.

    Args:
        path: Where the file shall be; missing folders are made.

    Raises:
        StagewiseError: The disk or the quota is full, or the folder cannot be written to.
    """
    target = Path(path)
    token = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary = target.with_name(f".{target.stem}.{token}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except OSError as error:
        _remove(temporary)
        raise _named(error, target) from error
    except BaseException:
        _remove(temporary)
        raise
    with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
        _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _named(error: OSError, target: Path) -> Exception:
    """Return the error to raise: one with a remedy where there was no room, or no right."""
    reason = _FULL.get(error.errno or 0)
    if reason is None:
        # What the block itself could not open keeps its name: its reader has another remedy.
        if error.errno not in _CLOSED or not str(error.filename).startswith(str(target.parent)):
            return error
        return StagewiseError(
            f"could not write {target}: {_CLOSED[error.errno]}. Make {target.parent} writable for "
            "you, or set `results` in the config to a folder that is, and run again."
        )
    kept = "the old file is intact" if target.exists() else "nothing was written"
    return StagewiseError(
        f"could not write {target}: {reason}; {kept}. "
        "Free space there (or raise the quota or file-size limit) and run the same command again."
    )


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write ``obj`` atomically as JSON with sorted keys and a newline at the end.

    Raises:
        StagewiseError: A value is NaN or infinite (JSON has no such numbers); write ``None``.
    """
    text = json.dumps(_plain(obj, "$"), sort_keys=True, indent=2, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        SchemaError: The file is missing, or is not whole JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SchemaError(f"{path} does not exist; run the stage that makes it first") from error
    except ValueError as error:
        raise SchemaError(
            f"{path} is not JSON ({error}); delete it and run the stage that makes it again"
        ) from error


def _plain(obj: Any, where: str) -> Any:
    """Turn numpy scalars and arrays into Python's own, refusing numbers that JSON lacks."""
    if isinstance(obj, dict):
        return {key: _plain(value, f"{where}.{key}") for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value, f"{where}[{index}]") for index, value in enumerate(obj)]
    if hasattr(obj, "tolist"):  # numpy, without importing it here
        return _plain(obj.tolist(), where)
    if isinstance(obj, float) and not math.isfinite(obj):
        raise StagewiseError(
            f"{where} is {obj}, which JSON cannot hold: allowed are finite numbers; "
            "write None where there is no value"
        )
    return obj


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(obj: Any) -> str:
    """Return the sha256 of an object's canonical JSON: equal objects hash equal on every machine.

    Raises:
        StagewiseError: A value is NaN or infinite.
    """
    text = json.dumps(_plain(obj, "$"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def exclusive_lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file ``path`` for the block; the kernel frees it when the process dies.

    The file holds the pid of the holder and is removed at the end. The descriptor is not passed on
    to programs that the holder starts, so no child can outlive it and keep the lock.

    Raises:
        BusyError: A live process holds the lock; the message names its pid.
        StagewiseError: The file system cannot lock.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(target)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Removed while held: whoever opened it meanwhile sees in _acquire that it is gone.
        _remove(target)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquire(target: Path) -> int:
    """Return a locked descriptor of the file that stands at ``target`` now."""
    while True:
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(target)):
                    return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder else "another process"
            raise BusyError(
                f"{target} is held by {who}; wait for it to end, or end it (kill {holder or 'PID'})"
                " and run the same command again"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise StagewiseError(
                f"could not lock {target} ({error.strerror}); "
                "use a folder on a file system that supports flock (a local disk does)"
            ) from error
        # The last holder removed the file between our open and our flock: lock the new one.
        os.close(descriptor)


#: What a job writes in its log when it resumes: the time that it took is that of the rest alone.
WENT_ON = "stagewise: goes on from the state that an earlier attempt left"


@contextlib.contextmanager
def scratch_folder(root: str | os.PathLike[str], identity: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder in which the job with this identity keeps the state it can resume from.

    Its name is a hash of ``identity`` (settings, seed, hashes of all inputs and of the code), so a
    job that differs in any of them never resumes from another's state. It is locked while in use,
    removed with its content when the block succeeds, and kept when it fails or is killed. A job
    that finds state there says so in its log, by the line ``WENT_ON``.

    Raises:
        BusyError: A live process works in this folder; the message names its pid.
    """
    folder = Path(root) / sha256_json(identity)[:24]
    with exclusive_lock(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)
        if any(path.name != "identity.json" for path in folder.iterdir()):
            sys.stderr.write(f"{WENT_ON}\n")
        if not (folder / "identity.json").exists():
            write_json(folder / "identity.json", identity)
        yield folder
        shutil.rmtree(folder)
