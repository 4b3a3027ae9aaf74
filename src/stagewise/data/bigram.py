"""Sequences from a bigram model with triggers (Bietti et al. 2023, arXiv:2306.00802).

Each sequence has a few triggers q_k and outputs o_k of its own. After a trigger stands its output,
after any other token one from the bigram model. The first pair of a trigger can't be foreseen; from
the second on it can, by a model that looks for what followed the trigger before: an induction head.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from stagewise.errors import ConfigError
from stagewise.seeds import generator


class Triggered(NamedTuple):
    """Sequences with triggers.

    Attributes:
        tokens: (sequence, position).
        first: Which predictions are outputs of a trigger that the sequence has not had before;
            place t belongs to token t + 1.
        repeated: Which are outputs of a trigger that it has.
    """

    tokens: Int[np.ndarray, "sequence position"]
    first: Bool[np.ndarray, "sequence predicted"]
    repeated: Bool[np.ndarray, "sequence predicted"]


def triggered_sequences(
    unigram: Float[np.ndarray, " token"],
    bigram: Float[np.ndarray, "token next_token"],
    *,
    length: int,
    count: int,
    triggers: int,
    pool: int,
    seed: int,
) -> Triggered:
    """Draw sequences of ``length`` + 1 tokens.

    Triggers are drawn without replacement from the ``pool`` most frequent tokens, alike; outputs
    from all tokens. Were triggers as frequent as tokens are, the most frequent one would be among
    them nearly always, and its output could be guessed as the commonest of the sequence.

    Raises:
        ConfigError: There are fewer tokens than the pool has, or fewer there than triggers.
    """
    size = len(unigram)
    if not triggers <= pool <= size:
        raise ConfigError(
            f"{triggers} triggers from a pool of {pool} among {size} tokens; ask for fewer"
        )
    rng = generator(seed, "bigram", "sequences")
    frequent = np.argsort(-unigram, kind="stable")[:pool]
    chosen = frequent[np.argsort(rng.random((count, pool)), axis=1)[:, :triggers]]
    output = np.full((count, size), -1, np.int32)
    drawn = rng.integers(size, size=(count, triggers))
    np.put_along_axis(output, chosen, drawn.astype(np.int32), axis=1)
    rows = np.cumsum(bigram, axis=1)
    start = np.cumsum(unigram)
    uniform = rng.random((length + 1, count))
    tokens = np.empty((count, length + 1), np.int32)
    tokens[:, 0] = _draw(np.broadcast_to(start, (count, size)), uniform[0])
    every = np.arange(count)
    for place in range(length):
        before = tokens[:, place]
        forced = output[every, before]
        tokens[:, place + 1] = np.where(
            forced >= 0, forced, _draw(rows[before], uniform[place + 1])
        )
    return Triggered(tokens, *_outputs(tokens, output))


def _draw(
    cumulative: Float[np.ndarray, "sequence token"], uniform: Float[np.ndarray, " sequence"]
) -> Int[np.ndarray, " sequence"]:
    found = (cumulative < uniform[:, None] * cumulative[:, -1:]).sum(axis=1)
    return np.minimum(found, cumulative.shape[1] - 1)


def _outputs(
    tokens: Int[np.ndarray, "sequence position"], output: Int[np.ndarray, "sequence token"]
) -> tuple[Bool[np.ndarray, "sequence predicted"], Bool[np.ndarray, "sequence predicted"]]:
    """Return which predictions are first and which are repeated outputs of triggers."""
    count, size = output.shape
    every, seen = np.arange(count), np.zeros((count, size), bool)
    first = np.zeros((count, tokens.shape[1] - 1), bool)
    repeated = np.zeros_like(first)
    for place in range(tokens.shape[1] - 1):
        before = tokens[:, place]
        triggers = output[every, before] >= 0
        first[:, place] = triggers & ~seen[every, before]
        repeated[:, place] = triggers & seen[every, before]
        seen[every, before] = True
    return first, repeated
