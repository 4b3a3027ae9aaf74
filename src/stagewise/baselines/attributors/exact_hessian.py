"""Exact influence with the Hessian of the mean loss, made definite: -g_q' (|H| + δ I)^-1 g_i.

A trained network's Hessian has negative eigenvalues where it is not at a minimum of the loss alone
(weight decay, early stopping), and H + δ I could be singular at small δ. So H = V Λ V' enters as
|H| = V |Λ| V' (saddle-free), every damping is allowed, and where H is semidefinite nothing changes.

Source: Koh & Liang 2017, arXiv:1703.04730; Dauphin et al. 2014, arXiv:1406.2572 (|H|).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.baselines.attributor import DAMPINGS, Attributor, Score, Setting, Trained
from stagewise.baselines.exact import check_size, hessian, sample_gradients


def prepare(given: Trained) -> Score:
    """Form the Hessian and turn the gradients into its eigenbasis, in float64."""
    check_size("exact_hessian", given.train)
    w = given.centre.double()
    eigenvalues, basis = torch.linalg.eigh(hessian(given.train, w))
    samples = sample_gradients(given.train, w) @ basis
    asked = sample_gradients(given.queries, w) @ basis
    size = eigenvalues.abs()

    def score(damping: float) -> Float[Tensor, "query sample"]:
        return -(asked / (size + damping)) @ samples.mT

    return score


ATTRIBUTOR = Attributor(
    prepare, tuple(Setting(f"damping {one:g}", {"damping": one}) for one in DAMPINGS)
)
