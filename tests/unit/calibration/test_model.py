"""Calibration of a user's module.

Caught: settings that ``sample_losses`` refuses, an argument that goes nowhere, a module that is
changed, lines where none were asked for.
"""

import dataclasses
import functools
from collections.abc import Iterator

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import stagewise
from stagewise.calibration import model as module
from stagewise.calibration.calibrate import Goal
from stagewise.calibration.settings import Calibration
from stagewise.errors import ConfigError

CROSS_ENTROPY = functools.partial(F.cross_entropy, reduction="none")
QUICK = {"bias": 0.9, "locality": 0.5, "reliability": 0.5, "chains": 8, "pilot_chains": 8}


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """As a user calls it; and checks of types in every step cost more than the steps."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(4)
    return torch.randn(20, 3), torch.arange(20) % 2


def test_sample_losses_takes_the_settings_as_they_are(
    model: nn.Module, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    before = [one.clone() for one in model.parameters()]
    found = stagewise.calibrate(model, CROSS_ENTROPY, data, damping=0.5, **QUICK)
    assert isinstance(found, Calibration)
    assert found.localization == pytest.approx(0.5 * found.n_beta)
    trace = stagewise.sample_losses(model, CROSS_ENTROPY, data, **found.settings())
    assert trace["excess_loss"].sizes == {"chain": 8, "draw": found.draws, "sample": 20}
    assert int(trace["status"].sum()) == 0
    for one, other in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_every_goal_and_choice_is_handed_on(
    model: nn.Module, data: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def choose(loss: object, centre: object, **options: object) -> None:
        given.update(options, loss=loss)

    monkeypatch.setattr(module, "choose", choose)
    goal = Goal(0.3, 0.6, 0.2, 0.7, 5.0, 9, 10)
    inputs, labels = data
    stagewise.calibrate(
        model, CROSS_ENTROPY, data, queries=(inputs[:3], labels[:3]), restrict="2.*",
        potential="plain", kernel="sgld", batch_sizes=(4,), seed=11, **dataclasses.asdict(goal),
    )  # fmt: skip
    assert given["goal"] == goal
    assert (given["kind"], given["kernel"], given["batch_sizes"]) == ("plain", "sgld", (4,))
    assert given["seed"] == 11
    assert given["loss"].parameter_count == 10
    assert (given["queries"].sample_count, given["queries"].parameter_count) == (3, 10)


def test_lines_are_written_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    for progress in (None, False, True, lines.append):
        module._said(progress)("step 1")
        shown = capsys.readouterr()
        assert (shown.out, shown.err) == ("", "step 1\n" if progress is True else "")
    assert lines == ["step 1"]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    module._said(None)("step 2")
    assert capsys.readouterr().err == "step 2\n"


def test_a_loss_that_is_a_mean_is_refused(
    model: nn.Module, data: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with pytest.raises(ConfigError, match="it must return one loss per sample"):
        stagewise.calibrate(model, F.cross_entropy, data)
