"""Flipped labels, and which images are judged by what should find them."""

import numpy as np
from jaxtyping import Int

from stagewise.errors import ConfigError
from stagewise.seeds import generator


def flip(
    labels: Int[np.ndarray, " sample"], classes: int, share: float, seed: int
) -> Int[np.ndarray, " sample"]:
    """Return labels of which round(share n) are replaced by another class, uniformly."""
    rng = generator(seed, "flips")
    given = labels.copy()
    chosen = rng.choice(len(labels), round(share * len(labels)), replace=False)
    given[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return given


def judged(
    labels: Int[np.ndarray, " sample"], given: Int[np.ndarray, " sample"], count: int, seed: int
) -> Int[np.ndarray, " judged"]:
    """Return indices of samples of few classes, a third of them with a flipped label, in order.

    Class after class, in random order, gives all that it has with a flipped label and twice as many
    with the true one, so that an image has others of its class to be compared with.

    Raises:
        ConfigError: There are not so many.
    """
    rng, chosen = generator(seed, "judged"), np.zeros(0, np.int64)
    for one in rng.permutation(np.unique(labels)):
        flipped = np.flatnonzero((labels == one) & (given != one))
        true = np.flatnonzero((labels == one) & (given == one))
        kept = rng.choice(true, min(len(true), 2 * len(flipped)), replace=False)
        chosen = np.concatenate([chosen, flipped, kept])
        if len(chosen) >= count:
            return np.sort(chosen[:count])
    raise ConfigError(
        f"{count} images shall be judged, flipped labels allow for {len(chosen)}: lower "
        "mislabel.judged or raise mislabel.share"
    )
