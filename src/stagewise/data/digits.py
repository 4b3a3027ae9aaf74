"""Handwritten digits that scikit-learn ships: 8 x 8 images of ten classes, no download.

Source: E. Alpaydin & C. Kaynak 1998, UCI "Optical Recognition of Handwritten Digits" (its test
part, 1,797 images), as in ``sklearn.datasets.load_digits``.
"""

import numpy as np

from stagewise.data.labelled import Labelled, split

CLASSES = 10


def digits(seed: int, train: int = 1000, queries: int = 200) -> tuple[Labelled, Labelled]:
    """Return training samples and queries, disjoint, drawn by the root seed; pixels from 0 to 1.

    Raises:
        ConfigError: If there are not so many digits.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    return split("digit", (data.data / 16).astype(np.float32), data.target, seed, train, queries)
