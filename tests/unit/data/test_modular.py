"""Arithmetic modulo p."""

import pytest

from stagewise.data.modular import evenly, modular, select
from stagewise.errors import ConfigError


def test_every_pair_of_both_tasks_is_on_one_side() -> None:
    train, test = modular(5, ("add", "multiply"), 0, 0.6)
    assert len(train.ids) == 30
    assert len(set(train.ids + test.ids)) == 50
    assert (train.task == 0).sum() == (train.task == 1).sum() == 15


def test_ids_inputs_and_answers_agree() -> None:
    train, test = modular(7, ("add", "subtract"), 1, 0.5)
    for part in (train, test):
        for name, label, row, (a, b) in zip(
            part.ids, part.labels, part.inputs, part.numbers, strict=True
        ):
            task, sum_ = name.split("/")
            assert label == eval(sum_) % 7
            assert row[:7].argmax() == a
            assert row[7:14].argmax() == b
            assert row[14:].tolist() == [task == "add", task == "subtract"]
            assert row.sum() == 3


def test_ids_are_permanent_and_splits_follow_the_seed() -> None:
    one, other = (modular(5, ("add", "multiply"), seed, 0.5)[0] for seed in (0, 1))
    assert one.ids != other.ids
    assert one.ids == modular(5, ("add", "multiply"), 0, 0.5)[0].ids


def test_evenly_spaced_samples_of_each_task() -> None:
    train, _ = modular(5, ("add", "multiply"), 0, 0.6)
    places = evenly(train.task, 3)
    assert places.tolist() == [0, 7, 14, 15, 22, 29]
    assert select(train, places).ids == [train.ids[one] for one in places]
    with pytest.raises(ConfigError, match="record fewer"):
        evenly(train.task, 16)


@pytest.mark.parametrize(
    ("modulus", "tasks", "share"),
    [(5, ("add", "add"), 0.5), (5, ("add", "divide"), 0.5), (2, ("add", "subtract"), 0.01)],
)
def test_what_makes_no_two_tasks_is_refused(modulus: int, tasks: tuple, share: float) -> None:
    with pytest.raises(ConfigError):
        modular(modulus, tasks, 0, share)
