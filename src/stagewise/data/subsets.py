"""Random training subsets that hold every class, and sets of samples that are left out."""

import numpy as np
from jaxtyping import Bool, Int

from stagewise.errors import ConfigError
from stagewise.seeds import generator

#: Subsets that are drawn before one that holds every class is given up on.
MOST_TRIES = 1000


def random_subsets(
    labels: Int[np.ndarray, " sample"], alpha: float, count: int, seed: int, *names: str | int
) -> Bool[np.ndarray, "subset sample"]:
    """Draw subsets of round(α n) samples, uniform among those that hold every class.

    Subset k is a function of the seed, the names and k, so that more subsets can be added to those
    that are there.

    Args:
        labels: Classes of the training samples.
        alpha: α in (0, 1].
        count: Number of subsets.
        seed: Root seed.
        *names: What the subsets are for.

    Raises:
        ConfigError: α is out of range, or a subset that holds every class is too rare.
    """
    size = round(alpha * len(labels))
    if not 0 < alpha <= 1 or size < 1:
        raise ConfigError(f"alpha is {alpha} of {len(labels)} samples; it must be in (0, 1]")
    masks = np.zeros((count, len(labels)), bool)
    classes = len(np.unique(labels))
    for index, mask in enumerate(masks):
        rng = generator(seed, *names, index)
        for _ in range(MOST_TRIES):
            chosen = rng.permutation(len(labels))[:size]
            if len(np.unique(labels[chosen])) == classes:
                break
        else:
            raise ConfigError(
                f"of {MOST_TRIES} random subsets of {size} of {len(labels)} samples none holds all "
                f"{classes} classes (subset {index}, alpha {alpha}); raise alpha or train"
            )
        mask[chosen] = True
    return masks


def without(
    count: int, left_out: list[np.ndarray] | list[list[int]]
) -> Bool[np.ndarray, "subset sample"]:
    """Return masks of all but some of ``count`` samples.

    Raises:
        ConfigError: An index is out of range or stands twice.
    """
    masks = np.ones((len(left_out), count), bool)
    for mask, indices in zip(masks, left_out, strict=True):
        chosen = np.asarray(indices, np.int64)
        bad = len(np.unique(chosen)) < len(chosen) or ((chosen < 0) | (chosen >= count)).any()
        if bad:
            raise ConfigError(
                f"samples {chosen.tolist()} shall be left out of {count}; name each once, from 0 "
                f"to {count - 1}"
            )
        mask[chosen] = False
    return masks


def check_subsets(
    masks: Bool[np.ndarray, "subset sample"], labels: Int[np.ndarray, " sample"]
) -> None:
    """Check that every subset holds every class of the training samples.

    Raises:
        ConfigError: One does not; the message names it and the classes that it misses.
    """
    if masks.ndim != 2 or masks.shape[1] != len(labels):
        raise ConfigError(
            f"masks have shape {masks.shape}; allowed is (subset, {len(labels)}): one entry for "
            "each training sample"
        )
    classes = set(np.unique(labels).tolist())
    for index, mask in enumerate(masks):
        missed = sorted(classes - set(labels[mask].tolist()))
        if missed:
            raise ConfigError(
                f"subset {index} has {int(mask.sum())} samples and none of the class(es) {missed}; "
                "take larger subsets, or draw it again"
            )
