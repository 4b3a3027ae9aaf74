"""Minibatches with a fixed number of samples from each stratum.

Chains on parameters that serve different strata share nothing then: the batch of a stratum is drawn
by itself. In a minibatch of all samples together the strata's counts add up to its size, so that
one has more where another has less, and the minibatch noise of all parameters is coupled.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from stagewise import seeds
from stagewise.errors import ConfigError
from stagewise.sampling.streams import MOST_STEPS, NoiseStreams


class StratifiedStreams(NoiseStreams):
    """Noise streams whose minibatch takes as many samples of every stratum, with replacement.

    A minibatch's mean loss is that of all samples in expectation where strata are of one size.

    Args:
        seed: As for ``NoiseStreams``, with what follows.
        experiment: Name of the experiment.
        chains: Number of chains, or their ids.
        parameters: Length of a noise vector.
        stratum: Stratum of each sample, integers; all of one size.
        batch_size: Samples in a minibatch, a multiple of the number of strata.
        options: Further arguments of ``NoiseStreams``.

    Raises:
        ConfigError: Strata are of different sizes, or ``batch_size`` isn't shared out evenly.
    """

    def __init__(
        self,
        seed: int,
        experiment: str,
        chains: int | Sequence[int],
        parameters: int,
        *,
        stratum: Int[np.ndarray, " sample"],
        batch_size: int,
        **options: Any,
    ) -> None:
        """Sort the samples into their strata."""
        names, counts = np.unique(stratum, return_counts=True)
        if len(set(counts.tolist())) != 1 or batch_size < 1 or batch_size % len(names):
            raise ConfigError(
                f"strata of {counts.tolist()} samples and batch_size {batch_size}; make them of "
                f"one size, and batch_size a multiple of their number, {len(names)}"
            )
        super().__init__(
            seed,
            experiment,
            chains,
            parameters,
            batch_size=batch_size,
            sample_count=len(stratum),
            **options,
        )
        self._members = np.stack([np.flatnonzero(stratum == name) for name in names])

    def _draw(self, name: str, chain: int, block: int) -> np.ndarray:
        if name != "batch":
            return super()._draw(name, chain, block)
        rng = seeds.generator_at(self._keys[name][chain], block)
        strata, size = self._members.shape
        each = self.batch_size // strata
        places = rng.integers(0, size, (MOST_STEPS, strata, each), dtype=np.int64)
        chosen = self._members[np.arange(strata)[:, None], places]
        return chosen.reshape(MOST_STEPS, self.batch_size)
