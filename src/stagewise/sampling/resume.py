"""State of a run on disk, so that a killed run goes on where it stood, bit for bit.

A scratch folder holds ``state.npz`` (the kernels' states and how far the run has come) and one
``draws-*.npz`` per save with the draws since the save before, so that a save costs what is new and
not what is old. Each file is published atomically and ``state.npz`` last: it names the draws that
count, and whatever else lies in the folder is ignored.
"""

import json
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.files import atomic_path
from stagewise.sampling.kernels.by_name import State
from stagewise.sampling.records import LossSink, Records


class Progress(NamedTuple):
    """How far a run has come: steps taken, draws recorded, seconds spent."""

    steps: int
    draws: int
    wall_seconds: float


class Scratch:
    """Saves and restores one run in a folder of its own.

    Args:
        folder: The folder, made if missing; two runs must not share it.
        identity: Everything that determines the run's numbers.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Prepare the folder; nothing is read or written yet."""
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._identity = json.dumps(identity, sort_keys=True)
        self._saved_draws: list[int] = [0]

    def save(
        self,
        progress: Progress,
        states: list[State],
        records: Records,
        sink: LossSink | None = None,
    ) -> None:
        """Publish the draws since the last save, then the state with the sink's sums."""
        if progress.draws > self._saved_draws[-1]:
            start = self._saved_draws[-1]
            draws = {name: a[:, :, start : progress.draws] for name, a in records.arrays.items()}
            self._write(self._chunk(start, progress.draws), draws)
            self._saved_draws.append(progress.draws)
        state = {f"state_{name}": value for name, value in _joined(states).items()}
        sums = {} if sink is None else sink.state()
        state |= {f"sink_{name}": value for name, value in sums.items()}
        self._write(
            self._folder / "state.npz",
            {
                **state,
                "identity": np.array(self._identity),
                "progress": np.array(progress, np.float64),
                "saved_draws": np.array(self._saved_draws),
                "status": records.status,
                "diverged_step": records.diverged_step,
            },
        )

    def restore(
        self, states: list[State], records: Records, sink: LossSink | None = None
    ) -> Progress | None:
        """Fill ``states``, ``records`` and ``sink`` from the folder; None if nothing is saved.

        Nothing is saved either where a file is broken: of that it warns, and the run begins
        anew.

        Raises:
            ConfigError: If the folder holds another run.
        """
        path = self._folder / "state.npz"
        if not path.exists():
            return None
        try:
            saved = _read(path)
            marks = [int(draw) for draw in saved["saved_draws"]]
            pieces = list(zip(marks, marks[1:], strict=False))
            chunks = [_read(self._chunk(*piece)) for piece in pieces]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            warnings.warn(f"{path.parent} is broken ({error}): starting anew", stacklevel=2)
            return None
        self._check(str(saved["identity"]))
        steps, draws, seconds = saved["progress"]
        self._saved_draws = marks
        records.status[...] = saved["status"]
        records.diverged_step[...] = saved["diverged_step"]
        if sink is not None:
            sink.restore({name[5:]: one for name, one in saved.items() if name[:5] == "sink_"})
        states[:] = _parted({name: saved[f"state_{name}"] for name in states[0]._fields}, states)
        for (start, stop), chunk in zip(pieces, chunks, strict=True):
            records.fill(start, stop, chunk)
        return Progress(int(steps), int(draws), float(seconds))

    def _check(self, found: str) -> None:
        if found != self._identity:
            raise ConfigError(
                f"{self._folder} holds the state of another run; delete it or use another folder\n"
                f"found  {found}\nwanted {self._identity}"
            )

    def _chunk(self, start: int, stop: int) -> Path:
        return self._folder / f"draws-{start}-{stop}.npz"

    @staticmethod
    def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file, and with them the checksums of each."""
    with np.load(path) as saved:
        return {name: saved[name] for name in saved.files}


def _joined(states: list[State]) -> dict[str, np.ndarray]:
    """Join the blocks' states along the checkpoints; plain numbers are the same in all blocks."""
    joined = {}
    for name in states[0]._fields:
        values = [getattr(state, name) for state in states]
        tensors = isinstance(values[0], Tensor)
        joined[name] = torch.cat(values).cpu().numpy() if tensors else np.array(values[0])
    return joined


def _parted(fields: dict[str, np.ndarray], like: list[State]) -> list[State]:
    """Undo ``_joined``, with the blocks, dtypes and devices of ``like``."""
    parted, start = [], 0
    for state in like:
        count, values = len(state[0]), []
        for name, old in zip(state._fields, state, strict=True):
            if isinstance(old, Tensor):
                values.append(torch.from_numpy(fields[name][start : start + count].copy()).to(old))
            else:
                values.append(type(old)(fields[name]))
        parted.append(type(state)(*values))
        start += count
    return parted
