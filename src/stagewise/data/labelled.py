"""Labelled samples with permanent ids, and their division into training samples and queries."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64, Num

from stagewise.errors import ConfigError
from stagewise.seeds import generator


class Labelled(NamedTuple):
    """Some samples of a data set.

    Attributes:
        inputs: Features, float32, or tokens (sample, feature).
        labels: Classes from 0 (sample,).
        ids: "digit0000" and so on: the place in the source's order, whatever the split.
    """

    inputs: Num[np.ndarray, "sample feature"]
    labels: Int64[np.ndarray, " sample"]
    ids: list[str]


def split(
    name: str,
    inputs: Num[np.ndarray, "sample feature"],
    labels: Int[np.ndarray, " sample"],
    seed: int,
    train: int,
    queries: int,
) -> tuple[Labelled, Labelled]:
    """Split samples at random by the root seed; within each part they keep the source's order.

    Args:
        name: Of the source; ids begin with it, and each source is split by its own numbers.
        inputs: Features of all samples.
        labels: Their classes.
        seed: Root seed.
        train: Training samples.
        queries: Queries, none of them a training sample.

    Raises:
        ConfigError: If there are not so many samples.
    """
    count = len(labels)
    if train < 1 or queries < 1 or train + queries > count:
        raise ConfigError(
            f"{train} training samples and {queries} queries of {count}; take at least one of each "
            f"and {count} at most"
        )
    order = generator(seed, name, "split").permutation(count)
    chosen = (np.sort(order[:train]), np.sort(order[train : train + queries]))
    return tuple(
        Labelled(
            inputs[index],
            labels[index].astype(np.int64),
            [f"{name}{place:04d}" for place in index.tolist()],
        )
        for index in chosen
    )
