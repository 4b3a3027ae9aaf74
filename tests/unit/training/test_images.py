"""Training of image networks repeats.

Caught: dropout of an unseeded generator, or of one that an interrupted training does not continue.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from stagewise.training.images import Recipe, train

RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
STEPS = 6
DRAWN = torch.Generator().manual_seed(1)
IMAGES = torch.randn(16, 1, 5, 5, generator=DRAWN)
LABELS = torch.arange(16) % 3


class Interruption(Exception):
    """What ends a training in the middle."""


def network() -> nn.Module:
    """A small network with what GoogLeNet has: convolution, BatchNorm and dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
        return nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(36, 3))


def trained(folder: Path | None = None, stop: int | None = None) -> dict[int, torch.Tensor]:
    """The states after every step; `stop` is the step at which the training is interrupted."""

    def progress(step: int, total: int) -> None:
        if step == stop:
            raise Interruption

    keep = tuple(range(1, STEPS))
    return train(network(), IMAGES, LABELS, RECIPE, 7, keep, folder=folder, progress=progress)


def assert_same(found: dict[int, torch.Tensor], wanted: dict[int, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys() == set(range(1, STEPS + 1))
    for step, state in wanted.items():
        assert torch.equal(found[step], state), step


def test_it_repeats_whatever_was_drawn_before() -> None:
    first = trained()
    torch.rand(3)
    before = torch.get_rng_state()
    assert_same(trained(), first)
    assert torch.equal(torch.get_rng_state(), before)  # and leaves others' numbers alone


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_interrupted_it_ends_in_the_same_weights(tmp_path: Path, stop: int) -> None:
    with pytest.raises(Interruption):
        trained(tmp_path, stop)
    assert_same(trained(tmp_path), trained())


def test_dropout_differs_between_epochs() -> None:
    """With equal dropout and equal batches of one image the second epoch would repeat the first."""
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(25, 3))
    recipe = Recipe(epochs=2, batch_size=1, learning_rate=1e-3, momentum=0.0, weight_decay=0.0)
    weight = module[2].weight.detach().clone()
    states = train(module, IMAGES[:1], LABELS[:1], recipe, 7, (1,))
    one, two = (states[step][: weight.numel()].reshape(3, 25) for step in (1, 2))
    dropped = [(change.abs().sum(0) == 0) for change in (one - weight, two - one)]
    assert not torch.equal(*dropped)
