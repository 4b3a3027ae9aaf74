"""Influence with the eigenvalue-corrected Kronecker-factored Fisher, by kronfluence.

The true Fisher, of labels from the network's own predictions: all classes, weighted, without noise.
Of a language model labels are drawn, and matrices of its blocks are tracked, not the embeddings.

Source: as ``stagewise.baselines.ekfac``.
"""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import DAMPINGS, Attributor, Score, Setting, Trained
from stagewise.baselines.ekfac import FactorSettings, fitted
from stagewise.baselines.ekfac_language import ALL_BLOCKS, fitted_sequences
from stagewise.models.documents import DocumentLoss

#: Tokens that are drawn for each of a document's: all are too many.
DRAWS = 4


def prepare(given: Trained) -> Score:
    """Fit the factors."""
    folder = given.folder / "ekfac"
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(given.train, DocumentLoss):
        return _of_documents(given.train, given.queries, given, folder)
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


def _of_documents(
    train: DocumentLoss, queries: DocumentLoss, given: Trained, folder: Path
) -> Score:
    """Fit the factors of a language model's blocks, on summed losses of tokens.

    With l = (1/T) Σ l_t, g = (1/T) Σ g_t, and a Fisher matrix of F/T where that of the sums is F,

        -g_q' (F/T + δ I)^-1 g_i = -(1/T) (T g_q)' (F + T δ I)^-1 (T g_i).
    """
    length = train.inputs.shape[1] - 1
    settings = FactorSettings(
        layers=ALL_BLOCKS,
        draws=DRAWS,
        seed=given.seed,
        factor_batch=32,
        query_batch=32,
        score_batch=32,
    )
    find = fitted_sequences(
        train.module(given.centre), train.inputs, queries.inputs, folder=folder, settings=settings
    )

    def score(damping: float) -> Float[Tensor, "query sample"]:
        return find(length * damping) / length

    return score


ATTRIBUTOR = Attributor(
    prepare, tuple(Setting(f"damping {one:g}", {"damping": one}) for one in DAMPINGS)
)
