"""Images that are moved and mirrored: by whole pixels, in the range, a run by its own numbers.

Caught: rows and columns exchanged, channels moved apart, images of other runs, a mirror that is
always or never there, a border that is not the mean.
"""

import numpy as np
import torch
from torch import Tensor

from stagewise.models.resnet9 import ResNet9Loss
from stagewise.training.crops import Crops, varied
from stagewise.training.descent import Recipe, descend, module_init

SHAPE, CROP = (2, 5, 6), 2
RUNS, BATCH = 3, 200


def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(RUNS, BATCH, 60, generator=generator) + 1  # no pixel is 0


def candidates(image: Tensor) -> dict[tuple[int, int, bool], Tensor]:
    """Every image that it may become."""
    found = {}
    rows, columns = SHAPE[1:]
    wide = torch.nn.functional.pad(image.view(SHAPE), (CROP,) * 4)
    for top in range(2 * CROP + 1):
        for left in range(2 * CROP + 1):
            cut = wide[:, top : top + rows, left : left + columns]
            found[top, left, False], found[top, left, True] = cut, cut.flip(2)
    return found


def test_every_image_is_one_of_the_crops_and_all_come_up() -> None:
    given = images()
    found = varied(given, Crops(SHAPE, CROP, True), [np.random.default_rng(k) for k in range(RUNS)])
    seen = set()
    for before, after in zip(given.flatten(0, 1), found.flatten(0, 1), strict=True):
        own = [key for key, one in candidates(before).items() if torch.equal(one.flatten(), after)]
        assert len(own) == 1
        seen.add(own[0])
    # 50 kinds, 600 images: one stays away with probability 50 · 0.98^600, 3e-4.
    assert len(seen) == 50


def test_without_a_crop_and_a_mirror_nothing_changes() -> None:
    given = images()
    streams = [np.random.default_rng(k) for k in range(RUNS)]
    assert torch.equal(varied(given, Crops(SHAPE, 0, False), streams), given)


def test_a_run_beside_others_is_itself() -> None:
    given, crops = images(), Crops(SHAPE, CROP, True)
    together = varied(given, crops, [np.random.default_rng(k) for k in range(RUNS)])
    for run in range(RUNS):
        alone = varied(given[run : run + 1], crops, [np.random.default_rng(run)])
        assert torch.equal(alone[0], together[run])


def test_a_training_sees_them() -> None:
    """A run with crops is itself beside others, and another than the one without."""
    shape = (3, 16, 16)
    inputs = torch.randn(9, 768, generator=torch.Generator().manual_seed(3))
    loss = ResNet9Loss(inputs, torch.arange(9) % 3, shape, (4, 4, 4, 4), 3)
    start = module_init(loss, [np.random.default_rng(k) for k in range(2)])
    recipe = Recipe(3, 4, 0.1, 0.9, 1e-3, Crops(shape, 2, True))

    def run(which: list[int], recipe: Recipe) -> Tensor:
        return descend(loss, start[which], recipe, [np.random.default_rng(9 + k) for k in which])

    together = run([0, 1], recipe)
    # Runs go one after another: only the order of sums within one differs, which does not.
    assert torch.equal(together[1], run([1], recipe)[0])
    assert not torch.equal(together[1], run([1], recipe._replace(crops=None))[0])
