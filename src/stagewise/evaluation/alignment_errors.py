"""Errors over classes: a jackknife that leaves out classes, or groups of them, with their pairs.

Source: Arvesen 1969 (jackknife of U-statistics); Shao & Wu 1989 (leaving out groups).
"""

import numpy as np
from jaxtyping import Float, Int

#: Groups of classes that are left out one after another; with fewer classes, each class.
GROUPS = 50


def class_groups(labels: Int[np.ndarray, " sample"]) -> Int[np.ndarray, " sample"]:
    """Return the group of each sample's class: runs of neighbouring classes, `GROUPS` at most.

    Neighbours in the order of the labels (letters, WordNet ids) are the most dependent ones.
    """
    classes = np.unique(labels, return_inverse=True)[1]
    count = int(classes.max()) + 1
    return classes * min(GROUPS, count) // count


def jackknife_error(left: Float[np.ndarray, " left"]) -> float:
    """Standard error from a statistic without each of G groups; NaN if one of them is."""
    count = left.size
    if count < 2:
        return float("nan")
    return float(np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum()))
