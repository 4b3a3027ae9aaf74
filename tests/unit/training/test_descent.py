"""Minibatch descent of many runs at once.

Caught: momentum or decay in another place, a step that does not fall to zero, runs that share
batches, a run that sees samples it was not given, weights that are not finite and nobody says so.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.mlp import MLPLoss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.training.descent import Recipe, descend, linear_init
from support.problems import RegressionLoss, regression

RECIPE = Recipe(steps=5, batch_size=3, learning_rate=0.1, momentum=0.5, weight_decay=0.2)


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def starts(count: int, parameters: int = 4) -> Tensor:
    rng = np.random.default_rng(99)
    return torch.from_numpy(rng.normal(size=(count, parameters)))


class Seen(PerSampleLoss):
    """Another loss, which notes what each run was given to see."""

    def __init__(self, loss: PerSampleLoss) -> None:
        self._loss = loss
        self.batches: list[Tensor] = []

    @property
    def sample_count(self) -> int:
        return self._loss.sample_count

    @property
    def parameter_count(self) -> int:
        return self._loss.parameter_count

    def losses(self, w: Tensor, samples: Tensor | None = None) -> Tensor:
        return self._loss.losses(w, samples)

    def mean_and_gradient(self, w: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        assert batch is not None
        self.batches.append(batch)
        return self._loss.mean_and_gradient(w, batch)


def test_steps_are_those_of_the_equations() -> None:
    problem = regression()
    seen = Seen(RegressionLoss(problem))
    found = descend(seen, starts(1), RECIPE, generators(1))[0].numpy()
    w, momentum = starts(1)[0].numpy(), np.zeros(4)
    for step, batch in enumerate(seen.batches):
        chosen = batch[0].numpy()
        error = problem.inputs[chosen] @ w - problem.targets[chosen]
        gradient = error @ problem.inputs[chosen] / RECIPE.batch_size
        momentum = 0.5 * momentum + gradient + 0.2 * w
        w = w - 0.1 * (1 - step / 5) * momentum
    np.testing.assert_allclose(found, w, rtol=1e-12)
    assert len(seen.batches) == RECIPE.steps


def test_runs_alone_are_the_runs_together() -> None:
    loss, members = RegressionLoss(regression()), [np.arange(8), np.arange(3), np.arange(2, 8)]
    together = descend(loss, starts(3), RECIPE, generators(3), members)
    for run in range(3):
        own = descend(
            loss, starts(3)[run : run + 1], RECIPE, generators(3)[run : run + 1], [members[run]]
        )
        torch.testing.assert_close(own[0], together[run], rtol=1e-12, atol=1e-14)


def test_samples_left_out_are_never_drawn_and_all_others_are() -> None:
    seen, members = Seen(RegressionLoss(regression())), [np.array([1, 6]), np.arange(8)]
    descend(seen, starts(2), RECIPE._replace(steps=60), generators(2), members)
    drawn = torch.stack(seen.batches)  # (step, run, sample)
    assert set(drawn[:, 0].flatten().tolist()) == {1, 6}
    # A sample of eight is missed by 180 draws with probability (7/8)^180 = 4e-11.
    assert set(drawn[:, 1].flatten().tolist()) == set(range(8))


def test_it_arrives_at_the_minimum_with_decay() -> None:
    problem = regression()
    recipe = Recipe(2000, 64, 0.3, 0.5, 0.2)
    found = descend(RegressionLoss(problem), starts(1), recipe, generators(1))[0].numpy()
    hessian = problem.inputs.T @ problem.inputs / 8 + 0.2 * np.eye(4)
    minimum = np.linalg.solve(hessian, problem.inputs.T @ problem.targets / 8)
    # Minibatch noise of the last steps is of the order of sqrt(lr(t)/64) and dies out with lr(t).
    np.testing.assert_allclose(found, minimum, atol=0.05)


def test_the_start_is_left_alone_and_progress_is_told() -> None:
    start, told = starts(2), []
    descend(
        RegressionLoss(regression()), start, RECIPE, generators(2),
        progress=lambda *done: told.append(done),
    )  # fmt: skip
    torch.testing.assert_close(start, starts(2), rtol=0, atol=0)
    assert told == [(step, 5) for step in range(1, 6)]


def test_divergence_names_the_runs() -> None:
    start = starts(2)
    start[1] *= np.inf
    with pytest.raises(DivergenceError, match=r"runs \[1\] of 2 .* lower learning_rate \(0.1\)"):
        descend(RegressionLoss(regression()), start, RECIPE, generators(2))


@pytest.mark.parametrize(
    ("runs", "members", "recipe", "message"),
    [
        (2, None, RECIPE, "1 runs, 2 generators"),
        (1, [np.arange(0)], RECIPE, "1 sets of samples with 0 at least"),
        (1, [], RECIPE, "0 sets of samples"),
        (1, None, RECIPE._replace(batch_size=0), "batch_size at least 1"),
        (1, None, RECIPE._replace(momentum=1.0), "momentum in"),
    ],
)
def test_what_does_not_fit_is_refused(
    runs: int, members: Sequence[np.ndarray] | None, recipe: Recipe, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        descend(RegressionLoss(regression()), starts(1), recipe, generators(runs), members)


def test_initial_weights_fill_the_range_of_each_layer_in_the_order_of_the_network() -> None:
    widths = (400, 25, 4)
    first = linear_init(widths, generators(2))
    loss = MLPLoss(torch.zeros(1, 400), torch.zeros(1, dtype=torch.int64), widths)
    assert first.shape == (2, loss.parameter_count)
    assert first.dtype == torch.float32
    torch.testing.assert_close(linear_init(widths, generators(1))[0], first[0], rtol=0, atol=0)
    below, above = first[:, : 401 * 25].abs().max(), first[:, 401 * 25 :].abs().max()
    # Of 20,050 and 208 uniform numbers the largest is within 0.999 and 0.9 but for chances of 1e-8.
    assert 0.999 / 20 < below <= 1 / 20
    assert 0.9 / 5 < above <= 1 / 5
