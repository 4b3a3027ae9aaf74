"""What common random numbers across checkpoints buy for differences between checkpoints."""

import numpy as np
from jaxtyping import Float64

from stagewise.evaluation.curves import Summary, summarize

Deviation = Float64[np.ndarray, "checkpoint query sample"]


def common_numbers_gain(one: Deviation, other: Deviation) -> Summary:
    """Return how many times smaller the variance of a neighbour difference is with common streams.

    ``one`` and ``other`` are two runs' deviations from the same exact law, equal but for their
    streams. Within a run all checkpoints share them: e(t+1) - e(t) is a difference with common
    numbers, e'(t+1) - e(t) one with independent numbers. Each pair of query and sample gives a
    ratio of mean squares over checkpoints and both runs; returned is their geometric mean, with the
    error over pairs, which are not independent: a rough one.
    """
    common = [np.diff(run, axis=0) for run in (one, other)]
    apart = [other[1:] - one[:-1], one[1:] - other[:-1]]
    squares = [np.mean(np.square(parts), axis=(0, 1)) for parts in (apart, common)]
    pairs = np.triu_indices(one.shape[-1])
    logs = summarize(np.log(squares[0] / squares[1])[pairs].tolist())
    gain = float(np.exp(logs.value))
    return Summary(gain, gain * logs.se, logs.n)
