"""Retraining on many subsets as one batch, block by block; and the exact answer where it is convex.

Caught: runs that see samples outside their subset, subsets or seeds that swap places, streams that
depend on the block, a sample left out that still counts or moves the divisor, a block trained twice
or lost, a minimum that is none.
"""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from stagewise.baselines.exact import gauss_newton, sample_gradients
from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.mlp import MLPLoss
from stagewise.training import retraining
from stagewise.training.descent import Recipe, descend, linear_init, module_init
from stagewise.training.newton import minimise, newton
from stagewise.training.retraining import Retraining, blocks, retrain

SAMPLES, FEATURES, CLASSES = 24, 4, 3
RECIPE = Recipe(steps=12, batch_size=5, learning_rate=0.2, momentum=0.8, weight_decay=0.01)
#: Runs of a dozen steps in float64, alone and in a batch, differ by rounding alone.
ROUNDING = 1e-10


def loss(hidden: tuple[int, ...] = (3,)) -> MLPLoss:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator, dtype=torch.float64)
    return MLPLoss(inputs, torch.arange(SAMPLES) % CLASSES, (FEATURES, *hidden, CLASSES), "tanh")


def masks(count: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    return rng.permuted(np.tile(np.arange(SAMPLES) < 15, (count, 1)), axis=1)


def job(count: int = 5, seeds: int = 2, *, left_out: bool = False) -> Retraining:
    return Retraining(loss(), RECIPE, masks(count), seeds, left_out, 7, ("here",))


@pytest.mark.parametrize("left_out", [False, True])
def test_a_batch_of_runs_is_every_run_alone(tmp_path: Path, left_out: bool) -> None:
    plan = job(left_out=left_out)
    together = retrain(plan, tmp_path)
    for subset in range(5):
        for seed in range(2):
            which = (seed,) if left_out else (subset, seed)
            init, batches = (
                retraining.generator(7, "here", purpose, *which) for purpose in ("init", "batches")
            )
            mask = plan.masks[subset]
            alone = descend(
                plan.loss,
                module_init(plan.loss, [init]),
                RECIPE,
                [batches],
                None if left_out else [np.flatnonzero(mask)],
                weights=torch.from_numpy(mask)[None].double() if left_out else None,
            )
            assert torch.allclose(together[subset, seed], alone[0], atol=ROUNDING, rtol=0)


def test_the_size_of_blocks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = retrain(job(), tmp_path / "whole")
    monkeypatch.setattr(retraining, "BLOCK_RUNS", 4)
    assert [list(block) for block in blocks(5, 2)] == [[0, 1], [2, 3], [4]]
    pieces = retrain(job(), tmp_path / "pieces")
    assert torch.allclose(whole, pieces, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("left_out", [False, True])
def test_a_part_of_the_subsets_is_what_the_set_has_there(tmp_path: Path, left_out: bool) -> None:
    plan = job(left_out=left_out)
    whole = retrain(plan, tmp_path / "whole")
    for first, last in ((0, 3), (3, 5)):
        part = plan._replace(masks=plan.masks[first:last], first=first)
        found = retrain(part, tmp_path / f"from_{first}")
        assert torch.allclose(whole[first:last], found, atol=ROUNDING, rtol=0)


def test_of_a_large_network_one_subset_is_trained_after_another() -> None:
    """So that little is lost; of those on digits as many as before."""
    assert [len(block) for block in blocks(3, 5, 2_274_880)] == [1, 1, 1]
    assert [len(block) for block in blocks(40, 4, 4810)] == [16, 16, 8]


def test_an_interrupted_retraining_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "BLOCK_RUNS", 4)
    whole = retrain(job(), tmp_path)
    files = sorted(tmp_path.glob("*.pt"))
    files[1].write_bytes(files[1].read_bytes()[:100])
    trained, descended = [], retraining.descend

    def counting(loss: MLPLoss, start: Tensor, *rest: object, **named: object) -> Tensor:
        trained.append(len(start))
        return descended(loss, start, *rest, **named)

    monkeypatch.setattr(retraining, "descend", counting)
    with pytest.warns(UserWarning, match=r"subsets_\d+_\d+\.pt is broken .*: starting anew"):
        assert torch.equal(retrain(job(), tmp_path), whole)
    files[0].unlink()
    assert torch.equal(retrain(job(), tmp_path), whole)
    assert trained == [4, 4]


def test_only_the_samples_of_a_subset_are_seen(tmp_path: Path) -> None:
    """What a sample outside it looks like changes nothing, and inside it does."""
    for left_out in (False, True):
        plan = job(1, left_out=left_out)
        before = retrain(plan, tmp_path / f"{left_out}")
        for inside in (False, True):
            sample = int(np.flatnonzero(plan.masks[0] == inside)[0])
            inputs = plan.loss.inputs.clone()
            inputs[sample] += 10.0
            other = plan._replace(loss=plan.loss.with_data(inputs, plan.loss.labels))
            after = retrain(other, tmp_path / f"{left_out}{inside}")
            assert torch.equal(before, after) is not inside


def test_left_out_runs_share_their_random_numbers(tmp_path: Path) -> None:
    plan = job(2, left_out=True)._replace(masks=np.ones((2, SAMPLES), bool))
    found = retrain(plan, tmp_path)
    assert torch.allclose(found[0], found[1], atol=ROUNDING, rtol=0)
    assert not torch.allclose(found[0, 0], found[0, 1], atol=1e-3)


def test_what_cannot_be_retrained_is_refused(tmp_path: Path) -> None:
    for bad in (job()._replace(masks=masks(2)[:, 1:]), job()._replace(seeds=0)):
        with pytest.raises(ConfigError, match="at least one subset of these samples"):
            retrain(bad, tmp_path)
    start = module_init(loss(), [np.random.default_rng(k) for k in range(2)])
    streams = [np.random.default_rng(k) for k in range(2)]
    few = torch.ones(1, SAMPLES).double()
    jaxtyping.config.update("jaxtyping_disable", True)  # a user's call is not checked for types
    with pytest.raises(ConfigError, match="1 rows of weights for 2 runs"):
        descend(loss(), start, RECIPE, streams, weights=few)


def test_initial_weights_are_those_of_linear_layers() -> None:
    """The same numbers as `linear_init` for a perceptron, which it is a special case of."""
    streams = [[np.random.default_rng(k) for k in range(3)] for _ in range(2)]
    found = module_init(loss((5,)), streams[0])
    wanted = linear_init((FEATURES, 5, CLASSES), streams[1])
    assert torch.allclose(found.float(), wanted, atol=1e-7)


def convex() -> tuple[MLPLoss, Tensor, Tensor]:
    regression = loss(())
    centre = newton(regression, gauss_newton, 0.05)
    return regression, centre, gauss_newton(regression, centre)


def test_the_minimum_is_one() -> None:
    regression, centre, _ = convex()
    gradient = regression.mean_and_gradient(centre[None, None], None)[1][0, 0] + 0.05 * centre
    assert float(gradient.norm()) < 1e-11


def test_leaving_a_sample_out_is_the_minimum_without_it() -> None:
    """The divisor kept: with n - 1 as divisor the decay would count less, n/(n - 1) of it."""
    regression, centre, matrix = convex()
    weights = torch.ones(3, SAMPLES).double()
    weights[1, 4] = weights[2, 9] = 0.0
    found = minimise(regression, centre, weights, matrix, 0.05)
    assert found.residual < 1e-10
    assert torch.allclose(found.weights[0], centre, atol=1e-9)
    for run, sample in ((1, 4), (2, 9)):
        rest = torch.arange(SAMPLES) != sample
        part = regression.with_data(regression.inputs[rest], regression.labels[rest])
        share = (SAMPLES - 1) / SAMPLES
        alone = newton(part, gauss_newton, 0.05 / share)
        assert torch.allclose(found.weights[run], alone, atol=1e-8)


def test_the_derivative_is_the_exact_influence() -> None:
    """dw/dc_i = -(H + λ)^-1 g_i / n: the error of a small change is of second order in it."""
    regression, centre, matrix = convex()
    change = 1e-4
    weights = torch.ones(SAMPLES, SAMPLES).double() + change * torch.eye(SAMPLES).double()
    moved = minimise(regression, centre, weights, matrix, 0.05, tolerance=1e-13).weights - centre
    damped = matrix + 0.05 * torch.eye(len(matrix)).double()
    wanted = -torch.linalg.solve(damped, sample_gradients(regression, centre).mT).mT / SAMPLES
    # Relative truncation of order change; the tolerance on gradients adds 1e-13/change.
    assert torch.allclose(moved / change, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))


def test_what_has_no_minimum_or_does_not_get_there_is_refused() -> None:
    regression, centre, matrix = convex()
    weights = torch.ones(1, SAMPLES).double()
    with pytest.raises(ConfigError, match="needs float64"):
        minimise(regression, centre, weights, matrix, 0.0)
    weights[0, 0] = 0.0
    with pytest.raises(DivergenceError, match="after 1 iterations"):
        minimise(regression, centre, weights, matrix, 0.05, iterations=1)
