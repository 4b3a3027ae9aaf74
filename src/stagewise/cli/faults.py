"""Faults that no job can word itself: a folder that is closed to it, and its own sudden death."""

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from stagewise.errors import StagewiseError

_FAILED = re.compile(r"^Error in rule (\w+):\n((?:    .*\n?)+)", re.M)
_LOG = re.compile(r"^    log: (.+?)(?: \(check log file.*)?$", re.M)
_STAGE = re.compile(r"python -m stagewise\.cli\.(\w+)")


def refuse_closed(folders: Sequence[str]) -> None:
    """Refuses to start where results cannot be written, before hours of jobs find out.

    Raises:
        StagewiseError: A folder cannot be made or written to.
    """
    for name in folders:
        path = Path(name)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise StagewiseError(
                f"{path} cannot be written ({error.strerror}): make it writable for you, or set "
                "`results` (and `paper`) in the config to folders that are"
            ) from error


def explain(logs: Sequence[str | Path]) -> list[str]:
    """Explains failed jobs whose own log holds no error: something killed them.

    Args:
        logs: Snakemake's own logs of the run.

    Returns:
        A message for each such job: which, why most likely, and what to do.
    """
    text = "\n".join(Path(log).read_text(encoding="utf-8", errors="replace") for log in logs)
    found = {}
    for rule, body in _FAILED.findall(text):
        own, stage = _LOG.search(body), _STAGE.search(body)
        if own is not None and stage is not None and _is_silent(Path(own[1]), stage[1]):
            found[own[1]] = (
                f"{rule} was killed: {own[1]} ends without an error. Most often memory ran out "
                "(dmesg names what the kernel killed). Free some, run fewer jobs at once "
                "(--cores 1) or allow them less together (--resources mem_mb=MB), and run the same "
                "command again: it goes on where it was."
            )
    return list(found.values())


def _is_silent(log: Path, stage: str) -> bool:
    """Tells whether a stage left neither its message nor a traceback."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    worded = re.search(rf"^(?:python -m stagewise\.cli\.)?{stage}: ", text, flags=re.M)
    return worded is None and "Traceback (most recent call last)" not in text
