"""Scores that know nothing: independent standard normal numbers, a new draw for each setting."""

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.seeds import generator


def prepare(given: Trained) -> Score:
    """Prepare nothing."""
    shape = given.queries.sample_count, given.train.sample_count

    def score(draw: int) -> Float[Tensor, "query sample"]:
        return torch.from_numpy(generator(given.seed, "random scores", draw).normal(size=shape))

    return score


ATTRIBUTOR = Attributor(prepare, tuple(Setting(f"draw {k}", {"draw": k}) for k in range(9)))
