"""What a run hands back, and the arrays that it fills on the way."""

import dataclasses
import threading
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int8, Int32
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.sampling.kernels.by_name import Info
from stagewise.sampling.observables import Observed

OK, DIVERGED = 0, 1


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a chain is recorded: ``burn_in`` steps, then every ``spacing``-th, ``draws`` times.

    Raises:
        ConfigError: If a count is not an integer or out of range.
    """

    burn_in: int
    draws: int
    spacing: int = 1

    def __post_init__(self) -> None:
        """Check the settings."""
        for name, least in (("burn_in", 0), ("draws", 1), ("spacing", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}; it must be an integer, at least {least}")

    @property
    def steps(self) -> int:
        """Steps of a whole chain."""
        return self.burn_in + self.draws * self.spacing

    def draw_after(self, steps: int) -> int | None:
        """Return the index of the draw recorded after that many steps, or None."""
        draw, rest = divmod(steps - self.burn_in, self.spacing)
        return draw - 1 if rest == 0 and 0 < draw <= self.draws else None

    def draws_after(self, steps: int) -> int:
        """Return how many draws have been recorded after that many steps."""
        return min(max(0, (steps - self.burn_in) // self.spacing), self.draws)


@dataclasses.dataclass(frozen=True)
class RunResult:
    """Plain arrays of a run; values of a chain from the step at which it diverged are NaN.

    Attributes:
        excess_loss: l_i(w) - l_i(w*), nats; None where a sink took them.
        loss_ref: l_i(w*), nats.
        query_excess_loss: The same of the queries, or None.
        query_loss_ref: The same of the queries, or None.
        train_loss: Mean excess over the recorded samples, nats.
        potential: U(w) - U(w*), L_n taken over the recorded samples.
        distance: |w - w*|.
        status: 0 ok, 1 diverged.
        diverged_step: Steps taken when divergence was first seen, -1 where it was not.
        info: The kernel's Info at each draw, field by field.
        wall_seconds: Time spent stepping and recording, over all resumptions.
        chain_steps: Steps taken, summed over chains and checkpoints.
        new_draws: How many of the draws came in the last block of steps: a function of the steps
            taken alone, so that a rule for stopping can ask "has a mark been passed just now?"
            without a memory of its own, which a resumed run would not have.
    """

    excess_loss: Float32[np.ndarray, "checkpoint chain draw sample"] | None
    loss_ref: Float64[np.ndarray, "checkpoint sample"]
    query_excess_loss: Float32[np.ndarray, "checkpoint chain draw query"] | None
    query_loss_ref: Float64[np.ndarray, "checkpoint query"] | None
    train_loss: Float64[np.ndarray, "checkpoint chain draw"]
    potential: Float64[np.ndarray, "checkpoint chain draw"]
    distance: Float64[np.ndarray, "checkpoint chain draw"]
    status: Int8[np.ndarray, "checkpoint chain"]
    diverged_step: Int32[np.ndarray, "checkpoint chain"]
    info: dict[str, Float32[np.ndarray, "checkpoint chain draw"]]
    wall_seconds: float
    chain_steps: int
    new_draws: int

    @property
    def draws(self) -> int:
        """Draws recorded so far."""
        return self.train_loss.shape[2]


@runtime_checkable
class LossSink(Protocol):
    """Takes the losses of a run block by block, where keeping every draw would be too much.

    Blocks of checkpoints may be added from several threads at once, each to its own checkpoints.
    """

    def add(
        self,
        block: slice,
        losses: Float[np.ndarray, "checkpoint chain draw sample"],
        queries: Float[np.ndarray, "checkpoint chain draw query"] | None,
        gone: Bool[np.ndarray, "checkpoint chain"],
    ) -> None:
        """Take the next draws of a range of checkpoints; ``gone`` says which chains diverged."""

    def state(self) -> dict[str, np.ndarray]:
        """Return all that a resumed run needs."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state that was saved."""


def trace_bytes(checkpoints: int, chains: int, draws: int, samples: int, queries: int = 0) -> int:
    """Return the bytes of a run's recorded arrays: float32 losses, three float64 per draw."""
    return checkpoints * chains * draws * (4 * (samples + queries) + 3 * 8)


class Records:
    """Arrays (checkpoint, chain, draw, ...) that a run fills draw by draw.

    Args:
        checkpoints: Number of checkpoints.
        chains: Number of chains.
        draws: Number of draws.
        keep_losses: Keep the losses themselves; False where a sink takes them.
    """

    def __init__(
        self, checkpoints: int, chains: int, draws: int, *, keep_losses: bool = True
    ) -> None:
        """Start with every chain sound; arrays are made when their width is known."""
        self._shape, self._keep_losses = (checkpoints, chains, draws), keep_losses
        self.status = np.full((checkpoints, chains), OK, np.int8)
        self.diverged_step = np.full((checkpoints, chains), -1, np.int32)
        self.arrays: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def write(self, block: slice, draw: int, observed: Observed, info: Info) -> None:
        """Put one draw of a range of checkpoints in its place."""
        gone = self.status[block] != OK
        for name, value in observed._asdict().items():
            loss = name.endswith("excess_loss")
            if value is not None and (self._keep_losses or not loss):
                dtype = np.float32 if loss else np.float64
                self._put(name, dtype, block, draw, value, gone)
        for name, value in info._asdict().items():
            self._put(f"info_{name}", np.float32, block, draw, value, gone)

    def mark(self, block: slice, steps: int, diverged: Bool[Tensor, "checkpoint chain"]) -> None:
        """Note which chains of a range of checkpoints have diverged, and when first seen."""
        new = diverged.cpu().numpy() & (self.status[block] == OK)
        self.status[block][new] = DIVERGED
        self.diverged_step[block][new] = steps

    def fill(self, start: int, stop: int, arrays: dict[str, np.ndarray]) -> None:
        """Put back draws ``start`` to ``stop`` that were saved."""
        for name, array in arrays.items():
            self._array(name, array.dtype, array.shape[3:])[:, :, start:stop] = array

    def result(
        self,
        draws: int,
        loss_ref: Tensor,
        query_loss_ref: Tensor | None,
        wall_seconds: float,
        chain_steps: int,
        new_draws: int,
    ) -> RunResult:
        """Return the first ``draws`` draws; views, not copies."""
        cut = {name: array[:, :, :draws] for name, array in self.arrays.items()}
        info = {name[5:]: cut.pop(name) for name in list(cut) if name.startswith("info_")}
        return RunResult(
            excess_loss=cut.pop("excess_loss", None),
            loss_ref=loss_ref.cpu().numpy(),
            query_excess_loss=cut.pop("query_excess_loss", None),
            query_loss_ref=None if query_loss_ref is None else query_loss_ref.cpu().numpy(),
            status=self.status,
            diverged_step=self.diverged_step,
            info=info,
            wall_seconds=wall_seconds,
            chain_steps=chain_steps,
            new_draws=new_draws,
            **cut,
        )

    def _put(
        self,
        name: str,
        dtype: type[np.floating],
        block: slice,
        draw: int,
        value: Tensor,
        gone: np.ndarray,
    ) -> None:
        place = self._array(name, dtype, value.shape[2:])[block, :, draw]
        place[...] = value.to(torch.float64 if dtype is np.float64 else torch.float32).cpu().numpy()
        place[gone] = np.nan

    def _array(self, name: str, dtype: np.dtype | type, width: tuple[int, ...]) -> np.ndarray:
        with self._lock:  # two blocks of checkpoints may come to their first draw at once
            if name not in self.arrays:
                self.arrays[name] = np.full((*self._shape, *width), np.nan, dtype)
            return self.arrays[name]
