"""A training that finds its saved state broken says so and begins anew; NaN stops it at once."""

import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from stagewise.errors import DivergenceError, StagewiseError
from stagewise.models.neox import build, flat_weights
from stagewise.training import saved_state
from stagewise.training.language import Recipe, Trainer


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert saved_state.load(tmp_path / "state.pt") is None
    saved_state.save({"step": 3, "w": torch.ones(2)}, tmp_path / "state.pt")
    assert os.listdir(tmp_path) == ["state.pt"]
    assert saved_state.load(tmp_path / "state.pt")["step"] == 3


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_truncated_checkpoint_is_named_and_left_behind(tmp_path: Path, share: float) -> None:
    path = tmp_path / "state.pt"
    saved_state.save({"w": torch.ones(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.warns(UserWarning, match=r"state\.pt is broken .*: starting anew"):
        assert saved_state.load(path) is None
    assert not path.exists()


def test_a_full_disk_keeps_the_state_before(tmp_path: Path) -> None:
    """With a real limit on the size of a file, which torch's writer would word as its own bug."""
    path = tmp_path / "state.pt"
    saved_state.save({"step": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(StagewiseError, match="file too big; the old file is intact"):
            saved_state.save({"step": 2, "w": torch.ones(2**16)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert saved_state.load(path)["step"] == 1
    assert os.listdir(tmp_path) == ["state.pt"]


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_spoilt() -> None:
    """The loss itself is still finite: catches NaN that would be found a step too late."""
    model = build(6, 4, layers=1, width=4, heads=1, expansion=2, rotary=1.0,
                  parallel_residual=False, seed=0)  # fmt: skip
    tokens = torch.randint(6, (4, 5), generator=torch.Generator().manual_seed(0))
    recipe = Recipe(batch_size=2, learning_rate=0.1, warmup=1, weight_decay=0.0)
    trainer = Trainer(model, tokens, torch.zeros(4, 4, dtype=torch.long), recipe, (0, "t", 0))
    before = flat_weights(model).clone()
    with pytest.raises(DivergenceError, match=r"at step 1 .* gradient has size nan; lower"):
        trainer.advance(lambda step, classes: torch.full(classes.shape, float("nan")))
    assert trainer.step == 0
    assert torch.equal(flat_weights(model), before)
    trainer.advance()
    assert trainer.step == 1
