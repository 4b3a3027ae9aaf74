"""The curvature of L_n at a checkpoint, from gradients alone.

Lanczos' recursion on Hessian-vector products,

    H v ~ (grad L_n(w* + h v) - grad L_n(w* - h v)) / (2 h),

started at a few random directions that run side by side as chains. Its extreme Ritz values approach
the extreme eigenvalues from inside; all of them, weighted by the squares of the first components of
their vectors, are a quadrature of the spectral density, so that sums over the spectrum such as
the effective dimension are estimated without an eigendecomposition.

Source: Ubaru, Chen & Saad 2017, SIAM J. Matrix Anal. Appl. 38(4) (stochastic Lanczos quadrature).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.per_sample import PerSampleLoss
from stagewise.seeds import generator

#: h relative to 1 + |w*|/sqrt(P) per unit of direction: the error of a difference of float32
#: gradients (1e-7/h) and that of the third derivative (h^2) are then both below a percent.
RELATIVE_STEP = 3e-2


class Curvature(NamedTuple):
    """Spectrum of H, the Hessian of L_n at one checkpoint, as a quadrature.

    Attributes:
        nodes: Ritz values (probe, node), nats per squared unit of weight.
        weights: Their weights; each probe's sum to 1 (probe, node).
        parameters: P.
    """

    nodes: Float64[np.ndarray, "probe node"]
    weights: Float64[np.ndarray, "probe node"]
    parameters: int

    @property
    def largest(self) -> float:
        """Largest eigenvalue, from below."""
        return float(self.nodes.max())

    @property
    def smallest(self) -> float:
        """Smallest eigenvalue, from above."""
        return float(self.nodes.min())

    def trace(self) -> float:
        """Return tr H = Σ_k λ_k, nats per squared unit of weight."""
        return self._sum(self.nodes)

    def effective_dimension(self, damping: float) -> float:
        """Return Σ_k λ_k/(λ_k + δ): twice the local learning coefficient of a quadratic.

        Eigenvalues at or below -δ have no local law and are left out.
        """
        local = self.nodes > -damping
        return self._sum(np.where(local, self.nodes / np.where(local, self.nodes + damping, 1), 0))

    def _sum(self, values: np.ndarray) -> float:
        return float(self.parameters * (self.weights * values).sum(axis=1).mean())


def measure(
    loss: PerSampleLoss,
    centre: Float[Tensor, "checkpoint parameter"],
    *,
    iterations: int = 24,
    probes: int = 4,
    seed: int = 0,
) -> Curvature:
    """Measure the curvature of L_n at one checkpoint; costs 2 · iterations · probes full gradients.

    Args:
        loss: The per-sample losses.
        centre: w*, one checkpoint.
        iterations: Most Lanczos steps; fewer where the space is exhausted.
        probes: Random directions.
        seed: Root seed of the directions.

    Returns:
        The spectrum; with as many iterations as parameters its nodes are the eigenvalues.

    Raises:
        ConfigError: More than one checkpoint, no iterations or probes, or a gradient that is not
            finite.
    """
    if iterations < 1 or probes < 1:
        raise ConfigError(f"iterations {iterations}, probes {probes}; at least one of each")
    if len(centre) != 1:
        raise ConfigError(f"{len(centre)} checkpoints; measure the curvature of one at a time")
    size = centre.shape[1]
    drawn = [generator(seed, "curvature", k).standard_normal(size) for k in range(probes)]
    v = torch.from_numpy(np.stack(drawn)).to(centre)
    v = v / v.norm(dim=1, keepdim=True)
    basis, alphas, betas, scale = [v], [], [], 0.0
    for step in range(min(iterations, size)):
        product = _hessian_product(loss, centre, basis[-1])
        alphas.append((product * basis[-1]).sum(1).double().cpu().numpy())
        for _ in range(2):  # twice, since float32 loses orthogonality in one pass
            for old in basis:
                product = product - (product * old).sum(1, keepdim=True) * old
        norm = product.norm(dim=1, keepdim=True)
        scale = max(scale, float(norm.max()), float(abs(alphas[-1]).max()))
        # What is left of H v is rounding: no further direction can be told from chance.
        if step == min(iterations, size) - 1 or float(norm.min()) <= 1e-6 * scale:
            break
        betas.append(norm[:, 0].double().cpu().numpy())
        basis.append(product / norm)
    if not np.isfinite(alphas).all():
        raise ConfigError("the gradient near the checkpoint is not finite; look for NaN in weights")
    return _quadrature(np.array(alphas), np.array(betas).reshape(-1, probes), size)


def _hessian_product(loss: PerSampleLoss, centre: Tensor, v: Tensor) -> Tensor:
    """Return H v for directions v (probe, parameter) of length 1."""
    scale = RELATIVE_STEP * (1.0 + float(centre.norm()) / math.sqrt(centre.shape[1]))
    ahead = loss.mean_and_gradient((centre + scale * v)[None], None)[1]
    behind = loss.mean_and_gradient((centre - scale * v)[None], None)[1]
    return (ahead - behind)[0] / (2.0 * scale)


def _quadrature(alphas: np.ndarray, betas: np.ndarray, size: int) -> Curvature:
    nodes, weights = [], []
    for probe in range(alphas.shape[1]):
        off = betas[: len(alphas) - 1, probe]
        matrix = np.diag(alphas[:, probe]) + np.diag(off, 1) + np.diag(off, -1)
        values, vectors = np.linalg.eigh(matrix)
        nodes.append(values)
        weights.append(np.square(vectors[0]))
    return Curvature(np.stack(nodes), np.stack(weights), size)
