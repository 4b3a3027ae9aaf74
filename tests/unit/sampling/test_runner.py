import numpy as np
import pytest
import torch
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.linear_net import LinearNetLoss
from stagewise.sampling.kernels import mala, sgld, underdamped
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import Schedule, trace_bytes
from stagewise.sampling.runner import default_block, run
from stagewise.sampling.streams import Noise, NoiseStreams

CHAINS, GAMMA, N_BETA, STEP = 3, 50.0, 20.0, 1e-3


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.fixture
def potential() -> Potential:
    return Potential(LinearNetLoss(seeded(3, 4, seed=1), 2), seeded(2, 14, seed=2), N_BETA, GAMMA)


def streams(**settings: object) -> NoiseStreams:
    return NoiseStreams(0, "runner", CHAINS, 14, dtype=torch.float64, **settings)


def test_the_schedule_says_when_a_chain_is_recorded() -> None:
    schedule = Schedule(burn_in=5, draws=3, spacing=4)
    assert schedule.steps == 17
    recorded = {step: draw for step in range(40) if (draw := schedule.draw_after(step)) is not None}
    assert recorded == {9: 0, 13: 1, 17: 2}
    assert [schedule.draws_after(step) for step in (0, 8, 9, 12, 13, 17, 99)] == [
        0,
        0,
        1,
        1,
        2,
        3,
        3,
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((-1, 1, 1), "burn_in is -1"),
        ((0, 0, 1), "draws is 0"),
        ((0, 1, 0), "spacing is 0"),
        ((0, True, 1), "draws is True"),
    ],
)
def test_schedules_out_of_range_are_named(settings: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schedule(*settings)


def test_a_run_is_its_steps_one_by_one(potential: Potential) -> None:
    """Every recorded number, from a loop that a reader can check."""
    kernel, source = sgld.Kernel(STEP), streams(batch_size=2, sample_count=4)
    found = run(kernel, potential, source, Schedule(burn_in=60, draws=5, spacing=3))
    centre, loss = potential.centre[:, None], potential.loss
    state = kernel.init(potential, centre.repeat(1, CHAINS, 1))
    for step in range(75):
        noise = Noise(source.normal(step))
        state, info = kernel.step(potential, state, source.batches(step), noise)
        after = step + 1 - 60
        if after > 0 and after % 3 == 0:
            draw, d = after // 3 - 1, state.position - centre
            excess = loss.losses(state.position) - loss.losses(centre)
            distance = d.square().sum(-1)
            total = N_BETA * excess.mean(-1) + GAMMA / 2 * distance
            close(found.excess_loss[:, :, draw], excess, 1e-6)
            close(found.train_loss[:, :, draw], excess.mean(-1), 1e-11)
            close(found.distance[:, :, draw], distance.sqrt(), 1e-11)
            close(found.potential[:, :, draw], total, 1e-11)
            close(found.info["mean_loss"][:, :, draw], info.mean_loss, 1e-6)
    close(found.loss_ref, loss.losses(centre)[:, 0], 1e-12)
    assert found.excess_loss.dtype == np.float32
    assert not found.status.any()
    assert (found.diverged_step == -1).all()
    assert found.chain_steps == 2 * CHAINS * 75
    assert found.wall_seconds > 0
    assert found.query_excess_loss is None


def close(found: np.ndarray, expected: Tensor, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected.numpy(), rtol=tolerance, atol=tolerance)


def test_queries_and_chosen_samples_are_recorded(potential: Potential) -> None:
    queries = LinearNetLoss(seeded(3, 4, seed=1), 2)
    schedule, kernel = Schedule(2, 3), sgld.Kernel(STEP)
    whole = run(kernel, potential, streams(), schedule, queries=queries)
    part = run(kernel, potential, streams(), schedule, samples=torch.tensor([3, 1]))
    assert whole.query_excess_loss is not None
    np.testing.assert_array_equal(whole.query_excess_loss, whole.excess_loss)
    np.testing.assert_array_equal(whole.query_loss_ref, whole.loss_ref)
    np.testing.assert_allclose(part.excess_loss, whole.excess_loss[..., [3, 1]], rtol=1e-6)
    np.testing.assert_allclose(part.loss_ref, whole.loss_ref[:, [3, 1]])
    np.testing.assert_allclose(part.train_loss, part.excess_loss.mean(-1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(part.distance, whole.distance)


class Exploding(NoiseStreams):
    """Throws one chain far away, or into NaN, at one step."""

    def __init__(self, value: float, step: int) -> None:
        super().__init__(0, "runner", CHAINS, 14, dtype=torch.float64)
        self._value, self._step = value, step

    def normal(self, step: int) -> Tensor:
        noise = super().normal(step).clone()
        if step == self._step:
            noise[1] = self._value
        return noise


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9])
@pytest.mark.parametrize("kernel", [sgld.Kernel(STEP), underdamped.Kernel(STEP, 0.5)])
def test_divergence_is_recorded_and_touches_no_other_chain(
    potential: Potential, value: float, kernel: sgld.Kernel | underdamped.Kernel
) -> None:
    schedule = Schedule(burn_in=10, draws=10, spacing=2)
    found = run(kernel, potential, Exploding(value, step=15), schedule)
    sound = run(kernel, potential, streams(), schedule)
    assert found.status.tolist() == [[0, 1, 0]] * 2
    assert found.diverged_step.tolist() == [[-1, 16, -1]] * 2
    kept = [0, 2]
    for name in ("excess_loss", "train_loss", "potential", "distance"):
        one, other = getattr(found, name), getattr(sound, name)
        np.testing.assert_array_equal(one[:, kept], other[:, kept])
        np.testing.assert_array_equal(one[:, 1, :2], other[:, 1, :2])
        assert np.isnan(one[:, 1, 2:]).all()


def test_divergence_in_burn_in_is_found_at_the_end_of_a_block(potential: Potential) -> None:
    source = Exploding(float("nan"), step=3)
    found = run(sgld.Kernel(STEP), potential, source, Schedule(burn_in=100, draws=1))
    assert found.diverged_step[:, 1].tolist() == [source.steps] * 2


def test_an_unstable_step_diverges_everywhere_and_raises_nothing(potential: Potential) -> None:
    found = run(sgld.Kernel(1.0), potential, streams(), Schedule(0, 100))
    assert found.status.all()
    assert np.isnan(found.excess_loss[:, :, -1]).all()


def test_a_run_may_be_stopped_early(potential: Potential) -> None:
    seen = []

    def until(result: object) -> bool:
        seen.append(result.excess_loss.shape[2])
        return seen[-1] >= 60

    schedule = Schedule(burn_in=70, draws=500)
    found = run(sgld.Kernel(STEP), potential, streams(), schedule, until=until)
    whole = run(sgld.Kernel(STEP), potential, streams(), schedule)
    assert seen == [58, 122]  # after steps 128 and 192; nothing is recorded by step 64
    np.testing.assert_array_equal(found.excess_loss, whole.excess_loss[:, :, :122])
    assert found.chain_steps == 2 * CHAINS * 192


def test_progress_is_told(potential: Potential) -> None:
    seen: list[tuple[int, int]] = []
    run(
        sgld.Kernel(STEP),
        potential,
        streams(),
        Schedule(0, 150),
        progress=lambda *done: seen.append(done),
    )
    assert seen == [(64, 150), (128, 150), (150, 150)]


def test_mala_records_its_acceptance(potential: Potential) -> None:
    found = run(mala.Kernel(1e-3), potential, streams(), Schedule(0, 50))
    assert set(found.info) == {"acceptance", "accepted"}
    assert 0.5 < found.info["acceptance"].mean() <= 1
    assert abs(found.info["accepted"].mean() - found.info["acceptance"].mean()) < 0.1


def test_parts_that_do_not_fit_are_named(potential: Potential) -> None:
    kernel, schedule = sgld.Kernel(STEP), Schedule(0, 1)
    with pytest.raises(ConfigError, match="13 numbers per step, the model 14"):
        run(kernel, potential, NoiseStreams(0, "a", 2, 13), schedule)
    wrong = streams(batch_size=2, sample_count=9)
    with pytest.raises(ConfigError, match="draw from 9 samples, the loss has 4"):
        run(kernel, potential, wrong, schedule)
    batches = streams(batch_size=2, sample_count=4)
    with pytest.raises(ConfigError, match="MALA needs the full gradient"):
        run(mala.Kernel(STEP), potential, batches, schedule)


def test_sizes() -> None:
    assert trace_bytes(100, 64, 60, 8, 2) == 100 * 64 * 60 * (4 * 10 + 24)
    assert default_block(torch.zeros(100, 10**9, device="meta"), 8) == 1
    assert default_block(torch.zeros(100, 368), 64) > 1
