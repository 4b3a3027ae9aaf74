"""Similarities of samples by vectors of features: cosines and distances."""

import numpy as np
from jaxtyping import Float

#: Columns that are multiplied at once in float64.
COLUMNS = 2**14


def cosine_similarity(
    features: Float[np.ndarray, "sample feature"], centred: bool = False
) -> Float[np.ndarray, "sample sample"]:
    """Cosine between samples' features, less the mean over samples if ``centred``.

    A sample whose features are all 0 has similarity 0 with every sample, itself included.
    """
    values = features.astype(np.float64)
    if centred:
        values -= values.mean(axis=0)
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    values = np.divide(values, norm, out=np.zeros_like(values), where=norm > 0)
    return values @ values.T


def negative_distance(
    features: Float[np.ndarray, "sample feature"],
) -> Float[np.ndarray, "sample sample"]:
    """−‖x_i − x_j‖₂, of flattened pixels say; 0 on the diagonal.

    From inner products in float64, some columns at a time: of ten thousand photographs neither a
    copy in float64 nor their differences would fit.
    """
    products = np.zeros((len(features), len(features)))
    for start in range(0, features.shape[1], COLUMNS):
        part = features[:, start : start + COLUMNS].astype(np.float64)
        products += part @ part.T
    squares = np.diag(products)
    found = -np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0.0))
    np.fill_diagonal(found, 0.0)
    return found
