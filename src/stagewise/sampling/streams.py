"""Random numbers of a run, as functions of (seed, experiment, chain, step).

Each chain has three streams: "noise" (standard normal, one vector per step), "batch" (sample
indices, drawn with replacement) and "uniform" (one number per step). All checkpoints share them
(common random numbers), so that curves over training are smooth in the noise. A stream is drawn in
blocks of a fixed number of steps, each from its own place in the stream: the numbers don't depend
on which other chains or checkpoints run, on where a run was resumed, or on how it is split.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from stagewise import seeds
from stagewise.errors import ConfigError
from stagewise.sampling import philox

#: Most steps in a block, and the most numbers of one chain in it. Part of the streams' definition:
#: another value gives other numbers.
MOST_STEPS, MOST_NUMBERS = 64, 2**18


#: Pairs of normal numbers that are made at once: few enough to stay in cache, and enough for
#: torch to share an operation out among its threads.
PAIRS_AT_ONCE = 2**17


class Noise(NamedTuple):
    """The randomness of one step.

    Attributes:
        normal: Standard normal (chain, parameter).
        uniform: Uniform on [0, 1) (chain,), for kernels that accept or reject; else None.
    """

    normal: Tensor
    uniform: Tensor | None = None


def steps_per_block(parameters: int) -> int:
    """Return how many steps one block of a chain's noise holds: a function of its length only."""
    return max(1, min(MOST_STEPS, MOST_NUMBERS // max(parameters, 1)))


def normal(rng: np.random.Generator, count: int) -> Float32[np.ndarray, " count"]:
    """Return the first standard normal numbers of a stream, float32.

    Of two uniform numbers u in (0, 1] and t in [-1, 1], each from 32 bits,

        sqrt(-2 log u) cos(pi t),   sqrt(-2 log u) sin(pi t)

    are independent and normal (Box & Muller 1958, "A note on the generation of random normal
    deviates"). The largest that can occur is 6.8, where a normal number exceeds 5.8 once in 10^8.
    Against numpy's rejection method this takes six tenths of the time, and two threads don't wait
    for each other.
    """
    pairs = (count + 1) // 2
    words = rng.integers(0, 2**64 - 1, pairs, dtype=np.uint64, endpoint=True)
    bits = torch.from_numpy(words.view(np.int32))
    found = torch.empty(2 * pairs)
    for start in range(0, pairs, PAIRS_AT_ONCE):
        one, other = (
            slice(at + start, at + min(start + PAIRS_AT_ONCE, pairs)) for at in (0, pairs)
        )
        # |bits| 2^-31 is u to 32 bits, most of all near 0, whence the tails come. The least bits
        # that are not 0 give 2^-31, 0 itself stands for the middle of what is left below.
        radius = bits[one].float().abs_().mul_(2.0**-31).clamp_min_(2.0**-33)
        radius.log_().mul_(-2.0).sqrt_()
        angle = bits[other].float().mul_(math.pi * 2.0**-31)
        torch.mul(torch.cos(angle), radius, out=found[one])
        torch.mul(angle.sin_(), radius, out=found[other])
    return found[:count].numpy()


class NoiseStreams:
    """The streams of some chains of one experiment.

    Args:
        seed: Root seed.
        experiment: Name of the experiment; other experiments draw other numbers.
        chains: Number of chains (0, 1, ...), or their ids.
        parameters: Length of a noise vector.
        batch_size: Indices per minibatch; None for full gradients.
        sample_count: Number of samples that the indices are drawn from.
        dtype: Of the noise, which is drawn in float32; uniform numbers are float64.
        device: Where the numbers are needed. Normal numbers of a GPU are made there, of the same
            words, equal but for the rounding of a logarithm and a cosine.
        threads: Threads that draw a block's chains side by side, ahead of need; 0 draws in place,
            which is faster where steps use torch's own threads: they would wait at every barrier.
    """

    def __init__(
        self,
        seed: int,
        experiment: str,
        chains: int | Sequence[int],
        parameters: int,
        *,
        batch_size: int | None = None,
        sample_count: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        threads: int = 0,
    ) -> None:
        """Derive the streams' keys; nothing is drawn yet."""
        self.chains = tuple(range(chains)) if isinstance(chains, int) else tuple(chains)
        if not self.chains or len(set(self.chains)) != len(self.chains):
            raise ConfigError(f"chains {chains!r}; give a positive number or distinct ids")
        if batch_size is not None and (batch_size < 1 or not sample_count):
            raise ConfigError(
                f"batch_size {batch_size} of {sample_count} samples; give a positive batch size "
                "and the number of samples, or batch_size None for full gradients"
            )
        self.seed, self.experiment = seed, experiment
        self.parameters, self.batch_size, self.sample_count = parameters, batch_size, sample_count
        self.steps = steps_per_block(parameters)
        self._dtype, self._device, self._threads = dtype, torch.device(device), threads
        self._keys = {name: self._stream_keys(name) for name in ("noise", "batch", "uniform")}
        self._held: dict[str, tuple[int, Tensor]] = {}
        self._ahead: dict[int, list[Future[np.ndarray]]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def normal(self, step: int) -> Float[Tensor, "chain parameter"]:
        """Return each chain's standard normal vector of a step."""
        return self._at("noise", step, self.steps)

    def batches(self, step: int) -> Int[Tensor, "chain batch"] | None:
        """Return each chain's minibatch of a step; None for full gradients."""
        return None if self.batch_size is None else self._at("batch", step, MOST_STEPS)

    def uniform(self, step: int) -> Float[Tensor, " chain"]:
        """Return each chain's uniform number of a step."""
        return self._at("uniform", step, MOST_STEPS)

    def close(self) -> None:
        """Stop the threads and drop what they drew ahead; the streams stay usable."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool, self._ahead = None, {}

    def _stream_keys(self, name: str) -> list[np.ndarray]:
        return [seeds.stream_key(self.seed, self.experiment, name, chain) for chain in self.chains]

    def _at(self, name: str, step: int, steps: int) -> Tensor:
        block, place = divmod(step, steps)
        held = self._held.get(name)
        if held is None or held[0] != block:
            # The old block goes first: of a large model there is no room for two.
            held = None
            self._held.pop(name, None)
            held = self._held[name] = (block, self._block(name, block))
        return held[1][place]

    def _block(self, name: str, block: int) -> Tensor:
        """Return one block of all chains, (step, chain, ...)."""
        if name == "noise" and self._device.type == "cuda":
            count = self.steps * self.parameters
            made = philox.normals(self._keys[name], block, count, self._device)
            return made.reshape(len(made), self.steps, -1).transpose(0, 1).to(self._dtype)
        if name == "noise" and self._threads > 0:
            drawn = self._drawn_ahead(block)
        else:
            drawn = [self._draw(name, chain, block) for chain in range(len(self.chains))]
        numbers = torch.from_numpy(np.stack(drawn, axis=1)).to(self._device)
        return numbers.to(self._dtype) if name == "noise" else numbers

    def _draw(self, name: str, chain: int, block: int) -> np.ndarray:
        rng = seeds.generator_at(self._keys[name][chain], block)
        if name == "noise":
            return normal(rng, self.steps * self.parameters).reshape(self.steps, -1)
        if name == "uniform":
            return rng.random(MOST_STEPS)
        return rng.integers(0, self.sample_count, (MOST_STEPS, self.batch_size), dtype=np.int64)

    def _drawn_ahead(self, block: int) -> list[np.ndarray]:
        """Take a block from the threads and let them start the next one."""
        for wanted in (block, block + 1):
            if wanted not in self._ahead:
                self._ahead[wanted] = self._submit(wanted)
        drawn = [future.result() for future in self._ahead[block]]
        self._ahead = {block + 1: self._ahead[block + 1]}
        return drawn

    def _submit(self, block: int) -> list["Future[np.ndarray]"]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="noise")
        count = range(len(self.chains))
        return [self._pool.submit(self._draw, "noise", chain, block) for chain in count]
