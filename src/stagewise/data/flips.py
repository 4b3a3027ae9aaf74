"""Flipped labels, which images are judged by what should find them, and which are asked about."""

from collections.abc import Sequence

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
    """Return indices of samples of few given labels, of each a third flipped into it, in order.

    Labels are chosen by what an auditor knows, the given ones: label after label, in random order,
    gives all that were flipped into it and twice as many true ones (fewer flipped ones where it has
    not so many true ones). So the number of judged images that share a label says nothing about
    flips. The last label is cut, with floor(r/3) flipped ones among the r that are still wanted:
    where ``count`` is a multiple of three, exactly a third is flipped.

    Raises:
        ConfigError: There are not so many.
    """
    rng, chosen = generator(seed, "judged"), np.zeros(0, np.int64)
    for one in rng.permutation(np.unique(given)):
        flipped = np.flatnonzero((given == one) & (labels != one))
        true = np.flatnonzero((given == one) & (labels == one))
        size = min(3 * min(len(flipped), len(true) // 2), count - len(chosen))
        odd = rng.choice(flipped, size // 3, replace=False)
        kept = rng.choice(true, size - size // 3, replace=False)
        chosen = np.concatenate([chosen, odd, kept])
        if len(chosen) == count:
            return np.sort(chosen)
    raise ConfigError(
        f"{count} images shall be judged, flipped labels allow for {len(chosen)} at most: lower "
        "mislabel.judged or raise mislabel.share"
    )


def queried(
    labels: Int[np.ndarray, " held"],
    variants: Sequence[str],
    first: Int[np.ndarray, " judged"],
    count: int,
    seed: int,
) -> Int[np.ndarray, " query"]:
    """Return indices of held-out images that influence is taken on, of as many classes as can be.

    The classes in ``first`` come first, in random order, then the others, in random order. Each
    gives one image, and one more when all have given theirs; variants take turns from class to
    class and from round to round.

    Args:
        labels: Classes of all held-out images.
        variants: What an image differs in from others of its class, such as its face.
        first: Given labels of the judged images, in any number.
        count: Queries.
        seed: Root seed.

    Raises:
        ConfigError: There are not so many held-out images.
    """
    if not 1 <= count <= len(labels):
        raise ConfigError(
            f"mislabel.queries is {count}; allowed are 1 to {len(labels)}, the held-out images: "
            "lower it, or hold out more faces or renderings"
        )
    rng, names = generator(seed, "queries"), np.asarray(variants, dtype=str)
    classes = rng.permutation(np.unique(labels))
    ahead = np.isin(classes, first)
    own = [
        _turns(labels, names, one) for one in (*classes[ahead].tolist(), *classes[~ahead].tolist())
    ]
    queue = [
        images[(place + turn) % len(images)]
        for turn in range(max(map(len, own)))
        for place, images in enumerate(own)
        if turn < len(images)
    ]
    return np.array(queue[:count], dtype=np.int64)


def _turns(labels: np.ndarray, names: np.ndarray, one: int) -> np.ndarray:
    """Return the images of a class, its variants taking turns."""
    images = np.flatnonzero(labels == one)
    images = images[np.argsort(names[images], kind="stable")]
    _, start, variant = np.unique(names[images], return_index=True, return_inverse=True)
    # How many images of its variant come before an image.
    before = np.arange(len(images)) - start[variant]
    return images[np.lexsort((variant, before))]
