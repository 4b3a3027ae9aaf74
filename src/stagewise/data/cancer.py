"""The breast cancer measurements that scikit-learn ships: 569 samples, 30 features, two classes.

Source: W. Wolberg, O. Mangasarian, N. Street & W. Street 1995, UCI "Breast Cancer Wisconsin
(Diagnostic)", as in ``sklearn.datasets.load_breast_cancer``.
"""

import numpy as np

from stagewise.data.labelled import Labelled, split

CLASSES = 2


def cancer(seed: int, train: int = 400, queries: int = 100) -> tuple[Labelled, Labelled]:
    """Return training samples and queries, disjoint.

    Features have mean 0 and variance 1 over all 569 samples, so that they are the same whatever the
    split.

    Raises:
        ConfigError: If there are not so many samples.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    inputs = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    return split("cancer", inputs.astype(np.float32), data.target, seed, train, queries)
