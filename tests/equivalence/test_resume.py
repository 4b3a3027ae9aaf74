"""A run that is killed and resumed gives, bit for bit, what it would have given at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stagewise.errors import ConfigError
from stagewise.models.linear_net import LinearNetLoss, QuadraticLinearNetLoss
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams

KERNELS = {
    "sgld": {},
    "underdamped": {"friction": 0.2},
    "baoab": {"friction": 0.2},
    "rmsprop_sgld": {"adapt_steps": 80},
    "mala": {},
}
SCHEDULE = Schedule(burn_in=70, draws=40, spacing=3)


class Killed(Exception):
    """Stands for a kill: nothing runs after it."""


def sampled(name: str, scratch: Path | None = None, kill_at: int | None = None, seed: int = 0,
            **settings: Any) -> RunResult:  # fmt: skip
    rng = torch.Generator().manual_seed(1)
    loss = LinearNetLoss(torch.randn(3, 4, generator=rng), 2)
    potential = Potential(loss, torch.randn(3, 14, generator=rng), 30.0, 40.0)
    batch_size = None if name == "mala" else 2
    streams = NoiseStreams(seed, "resume", 4, 14, batch_size=batch_size, sample_count=4)
    kernel = by_name.make(name, 1e-3, **KERNELS[name])
    if kill_at is not None:
        streams.normal = killing(streams, kill_at)  # type: ignore[method-assign]
    arguments = {"scratch": scratch, "save_every": 0.0, "checkpoint_block": 2, **settings}
    return run(kernel, potential, streams, SCHEDULE, **arguments)


def killing(streams: NoiseStreams, kill_at: int) -> Any:
    original = streams.normal

    def normal(step: int) -> torch.Tensor:
        if step >= kill_at:
            raise Killed
        return original(step)

    return normal


def assert_identical(one: RunResult, other: RunResult) -> None:
    for name in ("excess_loss", "loss_ref", "train_loss", "potential", "distance", "status",
                 "diverged_step"):  # fmt: skip
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert set(one.info) == set(other.info)
    for name, values in one.info.items():
        np.testing.assert_array_equal(values, other.info[name])
    assert one.chain_steps == other.chain_steps


@pytest.mark.parametrize("name", KERNELS)
def test_killed_twice_at_random_steps(name: str, tmp_path: Path) -> None:
    uninterrupted = sampled(name)
    for trial in range(2):
        kills = sorted(np.random.default_rng(trial).integers(1, SCHEDULE.steps, 2).tolist())
        scratch = tmp_path / str(trial)
        for kill_at in kills:
            with pytest.raises(Killed):
                sampled(name, scratch, kill_at)
        assert_identical(sampled(name, scratch), uninterrupted)


def test_a_resumed_run_takes_only_the_steps_that_are_left(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        sampled("sgld", tmp_path, kill_at=130)
    seen: list[int] = []
    resumed = sampled("sgld", tmp_path, progress=lambda done, _: seen.append(done))
    assert seen == [190]
    assert resumed.wall_seconds > 0


def test_killed_while_saving_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is published whole, the state last: any prefix of a save is harmless."""
    uninterrupted = sampled("sgld")
    original, calls = np.savez, iter(range(100))

    def savez(file: Any, **arrays: np.ndarray) -> None:
        if next(calls) == 3:
            file.write(b"half a file")
            raise Killed
        original(file, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(Killed):
        sampled("sgld", tmp_path)
    assert_identical(sampled("sgld", tmp_path), uninterrupted)


def test_divergence_survives_a_resume(tmp_path: Path) -> None:
    def unstable(scratch: Path | None, kill_at: int | None) -> RunResult:
        rng = torch.Generator().manual_seed(1)
        first, second = torch.randn(3, 2, 4, generator=rng), torch.randn(3, 3, 2, generator=rng)
        loss = QuadraticLinearNetLoss(torch.randn(3, 4, generator=rng), first, second)
        potential = Potential(loss, loss.centre, 2000.0, 1.0)
        streams = NoiseStreams(0, "resume", 4, 14)
        if kill_at is not None:
            streams.normal = killing(streams, kill_at)  # type: ignore[method-assign]
        kernel = by_name.make("sgld", 1e-2)
        return run(kernel, potential, streams, SCHEDULE, scratch=scratch, save_every=0.0)

    uninterrupted = unstable(None, None)
    assert uninterrupted.status.all()
    with pytest.raises(Killed):
        unstable(tmp_path, 130)
    assert_identical(unstable(tmp_path, None), uninterrupted)


def test_another_runs_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        sampled("sgld", tmp_path, kill_at=130)
    with pytest.raises(ConfigError, match="state of another run; delete it"):
        sampled("sgld", tmp_path, seed=1)
    with pytest.raises(ConfigError, match="state of another run; delete it"):
        sampled("mala", tmp_path)


@pytest.mark.parametrize("pattern", ["state.npz", "draws-*.npz"])
def test_a_broken_state_is_named_and_the_run_begins_anew(tmp_path: Path, pattern: str) -> None:
    """Catches a traceback of zipfile, and draws of a broken file taken for the run's."""
    with pytest.raises(Killed):
        sampled("sgld", tmp_path, kill_at=150)
    path = sorted(tmp_path.glob(pattern))[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match="is broken .*: starting anew"):
        again = sampled("sgld", tmp_path)
    assert_identical(again, sampled("sgld"))
