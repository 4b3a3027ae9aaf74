"""Damped influence with the exact Gauss-Newton matrix, for networks small enough to hold it.

    BIF_exact(i, q) = -g_q' (H + δ I)^-1 g_i,   H = (1/n) Σ_i J_i' (diag p_i - p_i p_i') J_i

with g the gradients of per-sample losses, J_i the Jacobian of sample i's logits and p_i its class
probabilities: negative where more weight on i lowers the loss of q. The limit of nβ times the
sampled influence as nβ grows at γ/nβ = δ, with H for the Hessian.

Source: Martens 2020, arXiv:1412.1193 (the matrix); Koh & Liang 2017, arXiv:1703.04730.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss

#: Samples whose Jacobians are held at once, at ten classes and 5,000 weights 40 MB.
CHUNK = 100
#: Rows of a Hessian that are made at once: each holds the activations of all samples.
ROWS = 16
#: More weights than this and the matrix is not formed: 2 GB in float64.
MOST_PARAMETERS = 16_000


class ExactInfluence(NamedTuple):
    """Influences at several dampings, and the matrix's spectrum if it was wanted.

    Attributes:
        value: BIF_exact (damping, query, sample), nats: nβ times a covariance of losses.
        trace: tr H, nats per squared unit of weight.
    """

    value: Float[Tensor, "damping query sample"]
    trace: float


def exact_influence(
    loss: ClassifierLoss,
    queries: ClassifierLoss,
    centre: Float[Tensor, " parameter"],
    dampings: Sequence[float],
) -> ExactInfluence:
    """Compute the influences in float64.

    Args:
        loss: The training samples.
        queries: The query samples, of the same network.
        centre: w*.
        dampings: δ > 0.

    Raises:
        ConfigError: A damping is not positive, or there are too many parameters.
    """
    if not dampings or not all(one > 0 for one in dampings) or len(centre) > MOST_PARAMETERS:
        raise ConfigError(
            f"dampings {list(dampings)} and {len(centre)} parameters; dampings must be positive "
            f"and parameters {MOST_PARAMETERS} at most"
        )
    w = centre.double()
    matrix = gauss_newton(loss, w)
    samples, asked = sample_gradients(loss, w), sample_gradients(queries, w)
    found = [damped_influence(matrix, asked, samples, damping) for damping in dampings]
    return ExactInfluence(torch.stack(found), float(matrix.trace()))


def check_size(name: str, loss: ClassifierLoss) -> None:
    """Check that a matrix of all pairs of parameters can be formed.

    Raises:
        ConfigError: There are too many parameters.
    """
    if loss.parameter_count > MOST_PARAMETERS:
        raise ConfigError(
            f"{name} forms a matrix of {loss.parameter_count} x {loss.parameter_count} numbers; "
            f"allowed are {MOST_PARAMETERS} parameters: leave it out of the problem's methods"
        )


def damped_influence(
    matrix: Float[Tensor, "parameter parameter"],
    asked: Float[Tensor, "query parameter"],
    samples: Float[Tensor, "sample parameter"],
    damping: float,
) -> Float[Tensor, "query sample"]:
    """Return -g_q' (H + δ I)^-1 g_i of positive semidefinite H and gradients of both."""
    damped = matrix.clone()
    damped.diagonal().add_(damping)
    factor = torch.linalg.cholesky(damped)
    return -asked @ torch.cholesky_solve(samples.mT, factor)


def gauss_newton(
    loss: ClassifierLoss, w: Float[Tensor, " parameter"]
) -> Float[Tensor, "parameter parameter"]:
    """Return H = (1/n) Σ_i J_i' (diag p_i - p_i p_i') J_i, nats per squared unit of weight."""

    def logits(w: Tensor, x: Tensor) -> Tensor:
        return loss.logits(w[None, None], x[None])[0, 0, 0]

    jacobian = torch.func.vmap(torch.func.jacrev(logits), in_dims=(None, 0))
    matrix = w.new_zeros(len(w), len(w))
    for inputs in loss.inputs.to(w).split(CHUNK):
        slopes = jacobian(w, inputs)
        p = loss.logits(w[None, None], inputs)[0, 0].softmax(-1)
        # B = diag(sqrt p) (I - 1 p') has B'B = diag p - p p'.
        rows = p.sqrt()[..., None] * (slopes - (p[..., None] * slopes).sum(1, keepdim=True))
        rows = rows.flatten(0, 1)
        matrix.addmm_(rows.mT, rows)
    return matrix / loss.sample_count


def hessian(
    loss: ClassifierLoss, w: Float[Tensor, " parameter"]
) -> Float[Tensor, "parameter parameter"]:
    """Return ∇²L_n(w), nats per squared unit of weight: not semidefinite off a minimum.

    Row by row, by differentiating the gradient backwards.
    """
    inputs, labels = loss.inputs.to(w), loss.labels

    def gradient(w: Tensor) -> Tensor:
        def mean(w: Tensor) -> Tensor:
            return F.cross_entropy(loss.logits(w[None, None], inputs)[0, 0], labels)

        return torch.func.grad(mean)(w)

    rows = torch.func.vjp(gradient, w)[1]
    basis = torch.eye(len(w), dtype=w.dtype, device=w.device)
    matrix = torch.func.vmap(rows, chunk_size=ROWS)(basis)[0]
    return (matrix + matrix.mT) / 2


def sample_gradients(
    loss: ClassifierLoss, w: Float[Tensor, " parameter"]
) -> Float[Tensor, "sample parameter"]:
    """Return every sample's own gradient."""
    return torch.cat(list(gradient_chunks(loss, w)))


def gradient_chunks(
    loss: ClassifierLoss, w: Float[Tensor, " parameter"], samples: int = CHUNK
) -> Iterator[Float[Tensor, "sample parameter"]]:
    """Yield the samples' own gradients, some samples at a time."""
    double = loss.like(w)
    for chosen in torch.arange(loss.sample_count, device=w.device).split(samples):
        yield double.sample_gradients(w, chosen)
