"""State of a training on disk, to go on from: whole or absent, and never trusted when broken."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch

from stagewise.files import atomic_path


def save(state: Any, path: Path) -> None:
    """Write a state atomically.

    Raises:
        StagewiseError: The disk is full; the old state is intact.
    """
    # Through memory: torch's own writer turns a full disk into an error that names neither.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load(path: Path) -> Any | None:
    """Read a state; None where there is none, or where the file is broken.

    Of a broken one it warns and removes it: the training begins anew, which is all that a person
    could do about it.
    """
    if not path.is_file():
        return None
    try:
        return torch.load(path, weights_only=False)
    except Exception as error:  # zipfile, pickle and torch raise their own, by where the cut is
        reason = str(error).partition("\n")[0] or type(error).__name__
        warnings.warn(f"{path} is broken ({reason}): starting anew", stacklevel=2)
        path.unlink()
        return None
