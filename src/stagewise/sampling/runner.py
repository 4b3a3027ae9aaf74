"""Runs chains at many checkpoints at once and records their losses.

The loop is: for each block of steps that the noise comes in, for each block of checkpoints, for
each step. So noise is drawn once for all checkpoints, and the tensors of a step stay in cache.
Between blocks of steps the run may be saved, watched, or stopped.

Blocks of checkpoints run side by side, each in a thread of its own that uses one core, where the
loss allows it. Torch's own threads would meet at a barrier in each of a step's two dozen small
operations: on two free cores that is as fast, but with one of them busy it was ten times slower.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels.by_name import Kernel, State
from stagewise.sampling.observables import Observed, Observer
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import OK, LossSink, Records, RunResult, Schedule
from stagewise.sampling.resume import Progress, Scratch
from stagewise.sampling.streams import Noise, NoiseStreams

#: Bytes of the positions of one block of checkpoints, about a core's second-level cache: measured
#: on the toy net, a fifth faster than all checkpoints at once, and than blocks of half that size.
BLOCK_BYTES = 2**20

#: The same on a GPU, which wants all work at once.
GPU_BLOCK_BYTES = 2**30

#: Says whether what has been recorded is enough.
Until = Callable[[RunResult], bool]


def run(
    kernel: Kernel,
    potential: Potential,
    streams: NoiseStreams,
    schedule: Schedule,
    *,
    samples: Int[Tensor, " sample"] | None = None,
    queries: PerSampleLoss | None = None,
    checkpoint_block: int | None = None,
    scratch: Path | None = None,
    save_every: float = 30.0,
    until: Until | None = None,
    progress: Callable[[int, int], None] | None = None,
    sink: LossSink | None = None,
) -> RunResult:
    """Run a chain per (checkpoint, chain), started at its checkpoint, and record it.

    A chain that isn't finite, or beyond a hundred times the potential's reach, is marked as
    diverged at the step where that is first seen (looked for at each draw and at the end of each
    block of steps); its later values are NaN and no other chain is touched. Nothing is raised.

    Args:
        kernel: What moves the chains.
        potential: What they descend.
        streams: Their random numbers; as many chains, as many parameters.
        schedule: Burn-in, draws, spacing.
        samples: Indices of the samples to record, in this order; None for all.
        queries: Further samples' losses under the same parameters, all recorded.
        checkpoint_block: Checkpoints moved together; None chooses by the size of a cache.
        scratch: Folder to save into and to resume from; None saves nothing. Resumed with the same
            arguments on a CPU, the result is bit for bit that of an uninterrupted run.
        save_every: Least seconds between saves.
        until: Called with the result so far after each block of steps that recorded something;
            returns True to stop early. One that goes by the result alone stops a resumed run
            where it would have stopped an uninterrupted one.
        progress: Called with (steps taken, steps in all) after each block of steps.
        sink: Takes the losses after each block of steps; the result then holds none.

    Returns:
        The recorded arrays. Fewer draws than scheduled only where ``until`` said so.

    Raises:
        ConfigError: If potential, streams and kernel don't fit, or ``scratch`` holds another run.
    """
    _check(kernel, potential, streams)
    chains = _Chains(kernel, potential, streams, schedule, samples, queries, checkpoint_block, sink)
    store = None if scratch is None else Scratch(scratch, chains.identity())
    with closing(streams), closing(chains), torch.no_grad():
        return _loop(chains, store, save_every, until, progress)


class _Block(NamedTuple):
    """A range of checkpoints with its potential and observer."""

    where: slice
    potential: Potential
    observe: Observer


class _Chains:
    """All chains of a run: their states, block of checkpoints by block, and their records."""

    def __init__(
        self,
        kernel: Kernel,
        potential: Potential,
        streams: NoiseStreams,
        schedule: Schedule,
        samples: Tensor | None,
        queries: PerSampleLoss | None,
        checkpoint_block: int | None,
        sink: LossSink | None,
    ) -> None:
        self.kernel, self.streams, self.schedule = kernel, streams, schedule
        self._potential, self.sink = potential, sink
        count, chains = len(potential.centre), len(streams.chains)
        self.size = checkpoint_block or default_block(potential.centre, chains)
        self.records = Records(count, chains, schedule.draws, keep_losses=sink is None)
        self.blocks, self.states = [], []
        with torch.no_grad():
            for start in range(0, count, self.size):
                where = slice(start, min(start + self.size, count))
                part = potential.select(where)
                also = None if queries is None else queries.select(where)
                self.blocks.append(_Block(where, part, Observer(part, samples, also)))
                position = part.centre[:, None].repeat(1, chains, 1)
                self.states.append(kernel.init(part, position))
        self._threads = torch.get_num_threads()
        safe = potential.loss.thread_safe and (queries is None or queries.thread_safe)
        safe = safe and not potential.centre.is_cuda
        workers = min(self._threads, len(self.blocks)) if safe else 1
        self._pool = (
            ThreadPoolExecutor(workers, "blocks", torch.set_num_threads, (1,))
            if workers > 1
            else None
        )

    def close(self) -> None:
        """Wait for the threads and end them."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            # What a thread sets for itself is also what threads started later begin with.
            torch.set_num_threads(self._threads)

    def identity(self) -> dict[str, Any]:
        """Return what a saved state must agree in; the caller's folder name says the rest."""
        streams, potential = self.streams, self._potential
        return {
            "kernel": repr(self.kernel),
            "potential": [potential.kind, potential.n_beta, potential.localization],
            "loss": type(potential.loss).__name__,
            "centre": [list(potential.centre.shape), str(potential.centre.dtype)],
            "centre_sum": float(potential.centre.double().sum()),
            "schedule": repr(self.schedule),
            "streams": [streams.seed, streams.experiment, list(streams.chains)],
            "batch": [streams.batch_size, streams.sample_count],
            "checkpoint_block": self.size,
            "sink": type(self.sink).__name__,
        }

    def advance(self, start: int, stop: int) -> None:
        """Take steps ``start`` to ``stop`` in every block of checkpoints."""
        # The streams keep one block of each kind: only this thread may turn their pages.
        drawn = [(self._noise(step), self.streams.batches(step)) for step in range(start, stop)]

        def advance_block(block: _Block, state: State) -> State:
            with torch.no_grad():  # each thread has its own setting
                return self._advance_block(block, state, start, drawn)

        spread = map if self._pool is None else self._pool.map
        self.states[:] = spread(advance_block, self.blocks, self.states)

    def _advance_block(
        self, block: _Block, state: State, start: int, drawn: list[tuple[Noise, Tensor | None]]
    ) -> State:
        seen: list[Observed] = []
        for step, (noise, batch) in enumerate(drawn, start=start):
            state, info = self.kernel.step(block.potential, state, batch, noise)
            draw = self.schedule.draw_after(step + 1)
            if draw is not None:
                observed = block.observe(state.position)
                self.records.mark(block.where, step + 1, block.observe.diverged(observed))
                self.records.write(block.where, draw, observed, info)
                if self.sink is not None:
                    seen.append(observed)
        distance = block.observe.distance(state.position)
        self.records.mark(block.where, start + len(drawn), block.observe.exploded(distance))
        if self.sink is not None and seen:
            gone = self.records.status[block.where] != OK
            queries = [one.query_excess_loss for one in seen if one.query_excess_loss is not None]
            losses = _stacked([one.excess_loss for one in seen])
            self.sink.add(block.where, losses, _stacked(queries) if queries else None, gone)
        return state

    def _noise(self, step: int) -> Noise:
        uniform = self.streams.uniform(step) if self.kernel.uses_uniform else None
        return Noise(self.streams.normal(step), uniform)

    def result(self, done: Progress) -> RunResult:
        """Return what has been recorded so far."""
        observers = [block.observe for block in self.blocks]
        queries = [one.query_loss_ref for one in observers if one.query_loss_ref is not None]
        block = self.streams.steps
        before = self.schedule.draws_after((done.steps - 1) // block * block)
        return self.records.result(
            done.draws,
            torch.cat([one.loss_ref for one in observers]),
            torch.cat(queries) if queries else None,
            done.wall_seconds,
            done.steps * self.records.status.size,
            done.draws - before,
        )


def default_block(centre: Tensor, chains: int) -> int:
    """Return how many checkpoints to move together: a function of sizes and the kind of device."""
    most = GPU_BLOCK_BYTES if centre.is_cuda else BLOCK_BYTES
    return max(1, most // (chains * centre.shape[1] * centre.element_size()))


def _loop(
    chains: _Chains,
    store: Scratch | None,
    save_every: float,
    until: Until | None,
    progress: Callable[[int, int], None] | None,
) -> RunResult:
    done = store.restore(chains.states, chains.records, chains.sink) if store else None
    done = done or Progress(0, 0, 0.0)
    total, last_save = chains.schedule.steps, time.monotonic()
    while done.steps < total and not _stops(until, chains, done):
        begun = time.monotonic()
        stop = min(total, (done.steps // chains.streams.steps + 1) * chains.streams.steps)
        chains.advance(done.steps, stop)
        draws, now = chains.schedule.draws_after(stop), time.monotonic()
        done = Progress(stop, draws, done.wall_seconds + now - begun)
        if store and now - last_save >= save_every:
            store.save(done, chains.states, chains.records, chains.sink)
            last_save = time.monotonic()
        if progress:
            progress(stop, total)
    return chains.result(done)


def _stops(until: Until | None, chains: _Chains, done: Progress) -> bool:
    """Ask the rule, where the last block of steps recorded something; of a restored run too."""
    if until is None or done.draws == 0:
        return False
    result = chains.result(done)
    return result.new_draws > 0 and until(result)


def _stacked(losses: list[Tensor]) -> np.ndarray:
    """Return draws (checkpoint, chain, n) as one array (checkpoint, chain, draw, n), float32."""
    return torch.stack(losses, dim=2).to(torch.float32).cpu().numpy()


def _check(kernel: Kernel, potential: Potential, streams: NoiseStreams) -> None:
    wanted = potential.loss.parameter_count
    if streams.parameters != wanted:
        raise ConfigError(
            f"the streams have {streams.parameters} numbers per step, the model {wanted} "
            "parameters; make the streams with parameters=potential.loss.parameter_count"
        )
    samples = potential.loss.sample_count
    if streams.batch_size is not None and streams.sample_count != samples:
        raise ConfigError(
            f"the streams draw from {streams.sample_count} samples, the loss has {samples}; "
            "make the streams with sample_count=potential.loss.sample_count"
        )
    if streams.batch_size is not None and kernel.name == "mala":
        raise ConfigError("MALA needs the full gradient; set batch_size to None")
