"""Exact damped influence with the Gauss-Newton matrix: -g_q' (H + δ I)^-1 g_i.

Source: as ``stagewise.baselines.exact``.
"""

from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import DAMPINGS, Attributor, Score, Setting, Trained
from stagewise.baselines.exact import (
    check_size,
    damped_influence,
    gauss_newton,
    sample_gradients,
)


def prepare(given: Trained) -> Score:
    """Form the matrix and all gradients, in float64."""
    check_size("exact_ggn", given.train)
    w = given.centre.double()
    matrix = gauss_newton(given.train, w)
    samples, asked = sample_gradients(given.train, w), sample_gradients(given.queries, w)

    def score(damping: float) -> Float[Tensor, "query sample"]:
        return damped_influence(matrix, asked, samples, damping)

    return score


ATTRIBUTOR = Attributor(
    prepare, tuple(Setting(f"damping {one:g}", {"damping": one}) for one in DAMPINGS)
)
