"""Similarity of what goes into the last layer: -s(h_q, h_i).

*plain*: similar samples help, whatever their labels; *same class*: those of another class neither
help nor harm; *signed*: they harm. Self-similarity of the penultimate layer is the case of q = i.
Documents are all of one class, so that for them the three are the same; their features are means
over positions.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import Attributor, Score, Setting, Trained
from stagewise.baselines.features import penultimate
from stagewise.models.classifier import ClassifierLoss
from stagewise.models.documents import DocumentLoss

MEASURES, CLASSES = ("cosine", "dot", "distance"), ("plain", "same class", "signed")


def prepare(given: Trained) -> Score:
    """Take the features."""
    samples, asked = (_features(one, given.centre) for one in (given.train, given.queries))
    same = given.queries.labels[:, None] == given.train.labels
    factor = {
        "plain": torch.ones_like(same, dtype=torch.float64),
        "same class": same.double(),
        "signed": 2 * same.double() - 1,
    }

    def score(measure: str, classes: str) -> Float[Tensor, "query sample"]:
        return -_similarity(asked, samples, measure) * factor[classes]

    return score


def _features(loss: ClassifierLoss, w: Tensor) -> Tensor:
    if isinstance(loss, DocumentLoss):
        return loss.features(w).double()
    return penultimate(loss.module(w), loss.inputs).double()


def _similarity(asked: Tensor, samples: Tensor, measure: str) -> Tensor:
    """Return similarities; of distance d, exp(-d / mean d), so that the near count most."""
    if measure == "distance":
        apart = torch.cdist(asked, samples)
        return torch.exp(-apart / apart.mean().clamp(min=torch.finfo(apart.dtype).tiny))
    if measure == "cosine":
        asked, samples = (torch.nn.functional.normalize(one, dim=1) for one in (asked, samples))
    return asked @ samples.mT


ATTRIBUTOR = Attributor(
    prepare,
    tuple(
        Setting(f"{measure}, {classes}", {"measure": measure, "classes": classes})
        for measure, classes in product(MEASURES, CLASSES)
    ),
)
