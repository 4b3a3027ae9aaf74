"""Named random streams: a stream is a function of (root seed, names) and of nothing else.

Every random number in the package comes from a generator made here. Names are mixed with SHA-256,
never with ``hash()`` (salted per process), and generators are Philox, a counter-based generator,
so that any block of a stream can be drawn without drawing what stands before it.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
"""

import hashlib
import json

import numpy as np


def seed_sequence(root: int, *names: str | int) -> np.random.SeedSequence:
    """Return the seed of the stream called ``names`` under ``root``.

    The entropy is ``root`` followed by the eight 32-bit words of SHA-256 of the names. The names'
    types count: ``1`` and ``"1"`` are different streams.

    Args:
        root: Root seed, a non-negative integer.
        *names: Names from general to particular, e.g. ``"toy", "noise", 3``.

    Returns:
        A seed sequence that is the same in every process, platform and Python version.

    Raises:
        ValueError: If ``root`` is negative.
        TypeError: If ``root`` is not an integer or a name is neither string nor integer.
    """
    root = _integer(root, "root seed")
    if root < 0:
        raise ValueError(f"the root seed is {root}; it must be a non-negative integer")
    digest = hashlib.sha256(json.dumps([_name(name) for name in names]).encode()).digest()
    words = np.frombuffer(digest, dtype="<u4")
    return np.random.SeedSequence([root, *(int(word) for word in words)])


def generator(root: int, *names: str | int) -> np.random.Generator:
    """Return a fresh Philox generator at the start of the stream called ``names``."""
    return np.random.Generator(np.random.Philox(seed_sequence(root, *names)))


def block_generator(root: int, *names: str | int, block: int) -> np.random.Generator:
    """Return a Philox generator at the start of block ``block`` of the stream called ``names``.

    The key is derived from the names, the highest word of the 256-bit counter is the block's
    number. Blocks are 2^192 counter values apart, so they can't overlap, and any block can be
    drawn without the others.

    Raises:
        ValueError: If ``root`` or ``block`` is negative.
    """
    return generator_at(stream_key(root, *names), block)


def stream_key(root: int, *names: str | int) -> np.ndarray:
    """Return the 128-bit Philox key (two uint64 words) of the stream called ``names``."""
    return seed_sequence(root, *names).generate_state(2, np.uint64)


def generator_at(key: np.ndarray, block: int) -> np.random.Generator:
    """Return the generator of one block of a stream whose key is already known."""
    block = _integer(block, "block")
    if block < 0:
        raise ValueError(f"the block number is {block}; it must be a non-negative integer")
    counter = np.array([0, 0, 0, block], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _integer(value: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"the {what} is {value!r}; it must be an integer")
    return int(value)


def _name(name: str | int) -> str | int:
    return name if isinstance(name, str) else _integer(name, "stream name")
