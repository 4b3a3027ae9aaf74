"""Small problems whose laws are exact, and the shortest ways to sample them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stagewise.models.linear_net import QuadraticLinearNetLoss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling import runner
from stagewise.sampling.kernels.by_name import Kernel
from stagewise.sampling.potential import Kind, Potential
from stagewise.sampling.records import Schedule
from stagewise.sampling.streams import Noise, NoiseStreams
from stagewise.theory.linear_net import loss_derivatives
from stagewise.theory.quadratic_model import QuadraticModel

#: The one root seed of these tests. It isn't tuned: no test may depend on its value.
SEED = 20240229


class Settings(NamedTuple):
    """What a law depends on beside the losses."""

    n_beta: float
    localization: float
    step_size: float


class Toy(NamedTuple):
    """A tiny linear net on an unbalanced tree, quadratic about its checkpoints.

    Attributes:
        targets: Y (feature, item).
        first: W1 (checkpoint, hidden, item).
        second: W2 (checkpoint, feature, hidden).
    """

    targets: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def checkpoints(self) -> int:
        return len(self.first)

    @property
    def parameters(self) -> int:
        return self.first[0].size + self.second[0].size

    @property
    def loss(self) -> QuadraticLinearNetLoss:
        return QuadraticLinearNetLoss(*(torch.from_numpy(array) for array in self))

    def model(self, checkpoint: int) -> QuadraticModel:
        weights = self.first[checkpoint], self.second[checkpoint]
        return QuadraticModel(*loss_derivatives(*weights, self.targets)[1:])

    def at(self, checkpoint: int) -> "Toy":
        """The same with one checkpoint."""
        only = slice(checkpoint, checkpoint + 1)
        return Toy(self.targets, self.first[only], self.second[only])


#: Every item's root, the branch of the first two, the third item alone, the first item alone.
TREE = np.array([[1.0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]])
#: The early checkpoint is then not local (g < n_beta |lambda_min|), the others are; the sharpest
#: mode's variance is inflated by about a third there.
TOY = Settings(n_beta=30.0, localization=20.0, step_size=0.02)
EARLY, MIDDLE, LATE = 0, 1, 2


def toy(steps: tuple[int, ...] = (2, 14, 60), hidden: int = 2) -> Toy:
    """Trains the toy by gradient descent; early, in a transition, and after most of them."""
    rng = np.random.default_rng(SEED)
    features, items = TREE.shape
    first, second = (
        0.3 * rng.normal(size=(hidden, items)),
        0.3 * rng.normal(size=(features, hidden)),
    )
    seen = []
    for step in range(max(steps) + 1):
        if step in steps:
            seen.append((first, second))
        error = second @ first - TREE
        slopes = second.T @ error, error @ first.T
        first, second = first - 0.3 / items * slopes[0], second - 0.3 / items * slopes[1]
    return Toy(TREE, np.stack([w for w, _ in seen]), np.stack([w for _, w in seen]))


class Regression(NamedTuple):
    """Linear regression: l_i(w) = (x_i . w - y_i)^2 / 2, seen from a point off the minimum.

    Attributes:
        inputs: x (sample, parameter).
        targets: y (sample,).
        centre: w* (parameter,).
    """

    inputs: np.ndarray
    targets: np.ndarray
    centre: np.ndarray

    @property
    def gradients(self) -> np.ndarray:
        return (self.inputs @ self.centre - self.targets)[:, None] * self.inputs

    @property
    def hessians(self) -> np.ndarray:
        return self.inputs[:, :, None] * self.inputs[:, None, :]

    @property
    def model(self) -> QuadraticModel:
        return QuadraticModel(self.gradients, self.hessians)


#: The slowest mode has relaxed by e^-10 at least after so many steps, which is one block of noise;
#: the variance of the sharpest one is inflated by 1/(1 - 0.03 * 40 / 4).
REGRESSION = Settings(n_beta=20.0, localization=10.0, step_size=0.03)
REGRESSION_STEPS = 64


def regression(samples: int = 8, parameters: int = 4, least_residual: float = 0.0) -> Regression:
    """Makes inputs of unequal length and noisy targets, so that no two samples are alike.

    The inputs are scaled so that the largest eigenvalue of the mean Hessian is 1.5. Residuals at
    the centre are made at least so large: losses near it are then nearly linear.
    """
    rng = np.random.default_rng(SEED)
    inputs = rng.normal(size=(samples, parameters)) * rng.uniform(0.5, 1.5, size=(samples, 1))
    inputs *= np.sqrt(1.5 * samples) / np.linalg.norm(inputs, ord=2)
    truth = rng.normal(size=parameters)
    targets = inputs @ truth + rng.normal(size=samples)
    centre = truth + 0.5 * rng.normal(size=parameters)
    residual = targets - inputs @ centre
    residual = np.sign(residual) * np.maximum(np.abs(residual), least_residual)
    return Regression(inputs, inputs @ centre + residual, centre)


class RegressionLoss(PerSampleLoss):
    """The losses of a linear regression."""

    def __init__(self, problem: Regression) -> None:
        self.inputs = torch.from_numpy(problem.inputs)
        self.targets = torch.from_numpy(problem.targets)

    @property
    def sample_count(self) -> int:
        return self.inputs.shape[0]

    @property
    def parameter_count(self) -> int:
        return self.inputs.shape[1]

    def losses(self, w: Tensor, samples: Tensor | None = None) -> Tensor:
        losses = 0.5 * (w @ self.inputs.T - self.targets).square()
        return losses if samples is None else losses[..., samples]

    def mean_and_gradient(self, w: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        if batch is None:
            error = w @ self.inputs.T - self.targets
            return 0.5 * error.square().mean(-1), error @ self.inputs / self.sample_count
        inputs = self.inputs[batch]
        error = torch.einsum("kcp,cbp->kcb", w, inputs) - self.targets[batch]
        gradient = torch.einsum("kcb,cbp->kcp", error, inputs) / batch.shape[1]
        return 0.5 * error.square().mean(-1), gradient


def regression_potential(
    problem: Regression,
    settings: Settings = REGRESSION,
    kind: Kind = "plain",
    control_variate: bool = False,
) -> Potential:
    """The potential of a regression about its own centre."""
    loss, centre = RegressionLoss(problem), torch.as_tensor(problem.centre)[None]
    return Potential(loss, centre, *settings[:2], kind, control_variate)


class Coordinates(PerSampleLoss):
    """Loss k is coordinate k: as queries they make the runner record positions less w*."""

    def __init__(self, parameters: int) -> None:
        self._parameters = parameters

    @property
    def sample_count(self) -> int:
        return self._parameters

    @property
    def parameter_count(self) -> int:
        return self._parameters

    def losses(self, w: Tensor, samples: Tensor | None = None) -> Tensor:
        return w if samples is None else w[..., samples]

    def mean_and_gradient(self, w: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        return w.mean(-1), torch.full_like(w, 1 / self._parameters)


def potential_of(
    loss: PerSampleLoss, centre: np.ndarray | Tensor, settings: Settings, kind: Kind = "plain"
) -> Potential:
    """The potential, in float64, at checkpoints (checkpoint, parameter)."""
    centre = torch.atleast_2d(torch.as_tensor(centre, dtype=torch.float64))
    return Potential(loss, centre, settings.n_beta, settings.localization, kind)


def streams_of(
    potential: Potential, chains: int, experiment: str, batch_size: int | None = None
) -> NoiseStreams:
    """Random numbers in float64 for so many chains; each experiment has its own."""
    sizes = potential.loss.parameter_count, potential.loss.sample_count
    return _streams(experiment, chains, *sizes, batch_size)


@lru_cache(maxsize=4)
def _streams(
    experiment: str, chains: int, parameters: int, samples: int, batch_size: int | None
) -> NoiseStreams:
    """Streams are functions of their arguments: what one test drew its mutants need not draw."""
    return NoiseStreams(
        SEED,
        experiment,
        chains,
        parameters,
        batch_size=batch_size,
        sample_count=samples,
        dtype=torch.float64,
    )


def sample(
    kernel: Kernel,
    potential: Potential,
    chains: int,
    schedule: Schedule,
    experiment: str,
    batch_size: int | None = None,
) -> runner.RunResult:
    """Runs chains; what the queries record is w - w*."""
    streams = streams_of(potential, chains, experiment, batch_size)
    queries = Coordinates(potential.loss.parameter_count)
    return runner.run(kernel, potential, streams, schedule, queries=queries)


def displacements(
    kernel: Kernel,
    potential: Potential,
    chains: int,
    steps: int,
    experiment: str,
    batch_size: int | None = None,
) -> np.ndarray:
    """W - w* (checkpoint, chain, parameter) of each chain after so many steps."""
    result = sample(kernel, potential, chains, Schedule(steps - 1, 1), experiment, batch_size)
    assert result.query_excess_loss is not None
    return result.query_excess_loss[:, :, 0].astype(np.float64)


def advance(
    kernel: Kernel, potential: Potential, state: NamedTuple, streams: NoiseStreams, steps: range
) -> NamedTuple:
    """Moves a kernel's state by hand, for tests that look at more than positions."""
    with torch.no_grad():
        for step in steps:
            noise = Noise(streams.normal(step))
            state, _ = kernel.step(potential, state, streams.batches(step), noise)
    return state
