"""Influence with the eigenvalue-corrected Kronecker-factored Fisher, by kronfluence.

The true Fisher, of labels from the network's own predictions: all classes, weighted, without noise.

Source: as ``stagewise.baselines.ekfac``.
"""

from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import DAMPINGS, Attributor, Score, Setting, Trained
from stagewise.baselines.ekfac import FactorSettings, fitted


def prepare(given: Trained) -> Score:
    """Fit the factors."""
    folder = given.folder / "ekfac"
    folder.mkdir(parents=True, exist_ok=True)
    find = fitted(
        given.train.module(given.centre),
        (given.train.inputs, given.train.labels),
        (given.queries.inputs, given.queries.labels),
        folder=folder,
        settings=FactorSettings(draws=0, seed=given.seed, factor_batch=512, query_batch=256),
    )

    def score(damping: float) -> Float[Tensor, "query sample"]:
        return find(damping)

    return score


ATTRIBUTOR = Attributor(
    prepare, tuple(Setting(f"damping {one:g}", {"damping": one}) for one in DAMPINGS)
)
