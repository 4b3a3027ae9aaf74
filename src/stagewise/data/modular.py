"""Arithmetic modulo p as classification, two tasks on the same pairs of numbers.

A sample is a task and a pair (a, b), its class the answer: a + b, a - b or a b, modulo p. Inputs
are one-hot: a, then b, then which of the two tasks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from stagewise.errors import ConfigError
from stagewise.seeds import generator

#: Sign of each operation in the samples' ids.
SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}


class Modular(NamedTuple):
    """Some samples of both tasks, those of the first task first.

    Attributes:
        inputs: One-hot a, b and task, (sample, 2 p + 2).
        labels: Answers, from 0 to p - 1.
        ids: "add/3+7" and so on, whatever the split.
        task: Place of the sample's task, 0 or 1.
        numbers: The pair (a, b).
    """

    inputs: Float32[np.ndarray, "sample input"]
    labels: Int64[np.ndarray, " sample"]
    ids: list[str]
    task: Int64[np.ndarray, " sample"]
    numbers: Int64[np.ndarray, "sample 2"]


def modular(
    modulus: int, tasks: Sequence[str], seed: int, train_share: float
) -> tuple[Modular, Modular]:
    """Split all p^2 pairs of each task at random; both tasks have as many training samples.

    Args:
        modulus: p, at least 2.
        tasks: Two different operations of ``SIGNS``.
        seed: Root seed of the split; each task is split by its own numbers.
        train_share: Share of the pairs that is trained on, in (0, 1).

    Returns:
        Training samples and the others, each in the order of (task, a, b).

    Raises:
        ConfigError: Not two different known tasks, or a part without samples.
    """
    if len(tasks) != 2 or len(set(tasks)) != 2 or not set(tasks) <= set(SIGNS):
        raise ConfigError(f"tasks {list(tasks)}; choose two different ones of {list(SIGNS)}")
    count = round(train_share * modulus**2)
    if modulus < 2 or not 0 < count < modulus**2:
        raise ConfigError(
            f"modulus {modulus} and train_share {train_share} leave {count} of {modulus**2} pairs "
            "to train on; take a modulus of 2 or more and a share that leaves pairs on both sides"
        )
    orders = [generator(seed, "modular", name, modulus).permutation(modulus**2) for name in tasks]
    chosen = [[np.sort(order[:count]) for order in orders]]
    chosen.append([np.sort(order[count:]) for order in orders])
    train, test = (_samples(modulus, tasks, pairs) for pairs in chosen)
    return train, test


def select(samples: Modular, index: Int64[np.ndarray, " chosen"]) -> Modular:
    """Return some of the samples, in the order of ``index``."""
    return Modular(
        samples.inputs[index],
        samples.labels[index],
        [samples.ids[one] for one in index],
        samples.task[index],
        samples.numbers[index],
    )


def evenly(task: Int64[np.ndarray, " sample"], each: int) -> Int64[np.ndarray, " chosen"]:
    """Return so many places of samples of each task, evenly spaced, the first task's first.

    Raises:
        ConfigError: A task has fewer samples.
    """
    parts = []
    for one in (0, 1):
        places = np.flatnonzero(task == one)
        if not 1 <= each <= len(places):
            raise ConfigError(f"{each} samples of task {one}; it has {len(places)}: record fewer")
        parts.append(places[np.linspace(0, len(places) - 1, each).round().astype(int)])
    return np.concatenate(parts)


def _samples(modulus: int, tasks: Sequence[str], pairs: Sequence[np.ndarray]) -> Modular:
    task = np.repeat([0, 1], [len(one) for one in pairs])
    a, b = np.divmod(np.concatenate(pairs), modulus)
    names = [tasks[one] for one in task]
    unit = np.eye(modulus, dtype=np.float32)
    inputs = np.concatenate([unit[a], unit[b], np.eye(2, dtype=np.float32)[task]], axis=1)
    answers = [_answer(*one) % modulus for one in zip(names, a, b, strict=True)]
    ids = [f"{name}/{x}{SIGNS[name]}{y}" for name, x, y in zip(names, a, b, strict=True)]
    return Modular(inputs, np.array(answers, np.int64), ids, task, np.stack([a, b], axis=1))


def _answer(name: str, a: np.int64, b: np.int64) -> int:
    return int({"add": a + b, "subtract": a - b, "multiply": a * b}[name])
