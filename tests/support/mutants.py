"""Bugs that samplers and estimators have had, each planted into the real code for one test."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from stagewise.models.linear_net import QuadraticLinearNetLoss
from stagewise.sampling import observables
from stagewise.sampling.kernels import baoab, mala, rmsprop_sgld, sgld, underdamped
from stagewise.sampling.potential import Potential
from stagewise.sampling.streams import NoiseStreams

Plant = Callable[[pytest.MonkeyPatch], None]


class Mutant(NamedTuple):
    """A bug in one clause, and how to plant it."""

    bug: str
    plant: Plant


MUTANTS: dict[str, Mutant] = {}


def planted(bug: str) -> Callable[[Plant], Plant]:
    """Enters a bug into the table under the name of the function that plants it."""

    def enter(plant: Plant) -> Plant:
        assert plant.__name__ not in MUTANTS
        MUTANTS[plant.__name__] = Mutant(bug, plant)
        return plant

    return enter


def replaced(name: str, bug: str, module: Any, attribute: str, value: Any) -> None:
    """Enters a bug that is one attribute with another value."""
    assert hasattr(module, attribute)
    assert name not in MUTANTS
    MUTANTS[name] = Mutant(bug, lambda patch: patch.setattr(module, attribute, value))


# Kernels: the size of the noise and of the drift.
for _kernel in (sgld, rmsprop_sgld, mala):
    _name = _kernel.Kernel.name
    replaced(
        f"{_name}_noise_too_large",
        f"{_name} adds noise sqrt(2e)",
        _kernel,
        "noise_scale",
        lambda step_size: math.sqrt(2 * step_size),
    )
for _kernel in (sgld, rmsprop_sgld, underdamped):
    _name = _kernel.Kernel.name
    replaced(
        f"{_name}_drift_too_large",
        f"{_name} drifts by e, not e/2",
        _kernel,
        "drift_scale",
        lambda step_size: step_size,
    )
replaced(
    "momentum_noise_too_small",
    "momentum is given noise sqrt(f eta), not sqrt(2 f eta)",
    underdamped,
    "noise_scale",
    lambda step_size, friction: math.sqrt(friction * step_size / 2),
)
replaced(
    "baoab_noise_too_small",
    "BAOAB adds 0.7 of its noise",
    baoab,
    "noise_scale",
    lambda friction: 0.7 * math.sqrt(friction * (2 - friction)),
)
replaced(
    "mala_accepts_always",
    "MALA accepts every proposal",
    mala,
    "log_acceptance",
    lambda old, new, step_size: torch.zeros_like(old.excess),
)
replaced(
    "mala_forgets_proposal",
    "MALA compares potentials but not the proposal's densities",
    mala,
    "log_density",
    lambda to, gradient, start, step_size: 0.0,
)
replaced(
    "rmsprop_forgets_root",
    "the preconditioner divides by V, not by its root",
    rmsprop_sgld,
    "preconditioner",
    lambda second_moment, floor: 1.0 / (second_moment + floor),
)


def _rmsprop_step(variant: str) -> Callable[..., Any]:
    """RMSProp-SGLD written anew with one bug."""

    def step(self: Any, potential: Potential, state: Any, batch: Any, noise: Any) -> Any:
        w, old = state.position, state.second_moment
        mean, raw = potential.loss_gradient(w, batch)
        gradient = potential.assemble(raw.clone(), w, batch)
        adapting = self.adapt_steps is None or state.steps < self.adapt_steps
        seen = gradient / potential.n_beta if variant == "moment_of_potential" else raw
        new = self.decay * old + (1 - self.decay) * seen**2 if adapting else old
        used = old if variant == "moment_after_use" else new
        scale = 1 / (used.sqrt() + self.floor)
        drift = gradient if variant == "drift_unscaled" else scale * gradient
        spread = 1.0 if variant == "noise_unscaled" else scale.sqrt()
        moved = w - self.step_size / 2 * drift + math.sqrt(self.step_size) * spread * noise.normal
        return rmsprop_sgld.State(moved, new, state.steps + 1), rmsprop_sgld.Info(mean)

    return step


for _variant, _bug in {
    "noise_unscaled": "RMSProp-SGLD's noise lacks sqrt(G)",
    "drift_unscaled": "RMSProp-SGLD's drift lacks G",
    "moment_after_use": "V is updated after it is used",
    "moment_of_potential": "V is of a gradient that includes the localization",
}.items():
    replaced(f"rmsprop_{_variant}", _bug, rmsprop_sgld.Kernel, "step", _rmsprop_step(_variant))


@planted("BAOAB leaves out the kick after the last drift")
def baoab_kicks_once(patch: pytest.MonkeyPatch) -> None:
    original = baoab.Kernel.step

    def step(self: Any, potential: Any, state: Any, batch: Any, noise: Any) -> Any:
        new, info = original(self, potential, state, batch, noise)
        kick = baoab.drift_scale(self.step_size) * new.gradient
        return new._replace(velocity=new.velocity + kick), info

    patch.setattr(baoab.Kernel, "step", step)


@planted("momentum keeps f of the velocity, not 1 - f")
def momentum_keeps_friction(patch: pytest.MonkeyPatch) -> None:
    original = underdamped.Kernel.step

    def step(self: Any, potential: Any, state: Any, batch: Any, noise: Any) -> Any:
        (_, velocity), info = original(self, potential, state, batch, noise)
        velocity = velocity + (2 * self.friction - 1) * state.velocity
        return underdamped.State(state.position + velocity, velocity), info

    patch.setattr(underdamped.Kernel, "step", step)


# The potential.
Change = Callable[[Potential, Tensor, Tensor, Tensor | None], Tensor]


def _with_gradient(patch: pytest.MonkeyPatch, change: Change) -> None:
    original = Potential.assemble

    def assemble(self: Potential, raw: Tensor, w: Tensor, batch: Tensor | None = None) -> Tensor:
        return change(self, original(self, raw, w, batch), w, batch)

    patch.setattr(Potential, "assemble", assemble)


@planted("the localization is dropped")
def localization_dropped(patch: pytest.MonkeyPatch) -> None:
    _with_gradient(patch, lambda u, g, w, _: g - u.localization * (w - u.centre[:, None]))


@planted("the localization pulls toward 0, not toward the checkpoint")
def localization_toward_zero(patch: pytest.MonkeyPatch) -> None:
    _with_gradient(patch, lambda u, g, w, _: g + u.localization * u.centre[:, None])


@planted("the localization is g, not g/2, of the squared distance")
def localization_doubled(patch: pytest.MonkeyPatch) -> None:
    _with_gradient(patch, lambda u, g, w, _: g + u.localization * (w - u.centre[:, None]))


def _slope_at_centre(u: Potential, w: Tensor, batch: Tensor | None) -> Tensor:
    return u.n_beta * u.loss.mean_and_gradient(u.centre[:, None].expand_as(w), batch)[1]


@planted("the recentred potential keeps the gradient at the checkpoint")
def recentring_dropped(patch: pytest.MonkeyPatch) -> None:
    _with_gradient(patch, lambda u, g, w, batch: g + _slope_at_centre(u, w, batch))


@planted("the gradient is recentred on another batch than its own")
def recentring_on_other_batch(patch: pytest.MonkeyPatch) -> None:
    def change(u: Potential, g: Tensor, w: Tensor, batch: Tensor | None) -> Tensor:
        assert batch is not None
        other = batch.roll(1, dims=0)
        return g + _slope_at_centre(u, w, batch) - _slope_at_centre(u, w, other)

    _with_gradient(patch, change)


@planted("the control variate's own mean is not given back")
def control_variate_forgets_mean(patch: pytest.MonkeyPatch) -> None:
    _with_gradient(patch, lambda u, g, w, _: g - u.n_beta * u.centre_gradient()[:, None])


@planted("the control variate is not applied")
def control_variate_dropped(patch: pytest.MonkeyPatch) -> None:
    def change(u: Potential, g: Tensor, w: Tensor, batch: Tensor | None) -> Tensor:
        return g + _slope_at_centre(u, w, batch) - u.n_beta * u.centre_gradient()[:, None]

    _with_gradient(patch, change)


@planted("the inverse temperature b stands where n b belongs")
def beta_for_n_beta(patch: pytest.MonkeyPatch) -> None:
    original = Potential.assemble

    def assemble(self: Potential, raw: Tensor, w: Tensor, batch: Tensor | None = None) -> Tensor:
        pull = self.localization * (w - self.centre[:, None])
        return (original(self, raw, w, batch) - pull) / self.loss.sample_count + pull

    patch.setattr(Potential, "assemble", assemble)


def summed_losses(patch: pytest.MonkeyPatch, loss: type) -> None:
    original = loss.mean_and_gradient

    def mean_and_gradient(self: Any, w: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        count = self.sample_count if batch is None else batch.shape[1]
        mean, gradient = original(self, w, batch)
        return count * mean, count * gradient

    patch.setattr(loss, "mean_and_gradient", mean_and_gradient)


@planted("the quadratic net's gradient is of the sum of losses, not of their mean")
def quadratic_net_sums_losses(patch: pytest.MonkeyPatch) -> None:
    summed_losses(patch, QuadraticLinearNetLoss)


@planted("the drift is the gradient of the sum of losses, not of their mean")
def sum_for_mean(patch: pytest.MonkeyPatch) -> None:
    original = Potential.loss_gradient

    def loss_gradient(self: Potential, w: Tensor, batch: Tensor | None = None) -> Any:
        found = original(self, w, batch)
        count = self.loss.sample_count if batch is None else batch.shape[1]
        return found._replace(gradient=count * found.gradient)

    patch.setattr(Potential, "loss_gradient", loss_gradient)


@planted("the localization pulls toward another checkpoint")
def checkpoints_swapped(patch: pytest.MonkeyPatch) -> None:
    def change(u: Potential, g: Tensor, w: Tensor, _: Tensor | None) -> Tensor:
        return g + u.localization * (u.centre - u.centre.roll(1, dims=0))[:, None]

    _with_gradient(patch, change)


def _with_value(patch: pytest.MonkeyPatch, change: Callable[..., Tensor]) -> None:
    original = Potential.from_excess

    def from_excess(self: Potential, mean_excess: Tensor, displacement: Tensor) -> Tensor:
        return change(self, original(self, mean_excess, displacement), mean_excess, displacement)

    patch.setattr(Potential, "from_excess", from_excess)


@planted("the potential's value has g, not g/2, of the squared distance")
def value_localization_doubled(patch: pytest.MonkeyPatch) -> None:
    _with_value(patch, lambda u, v, _, d: v + 0.5 * u.localization * d.double().square().sum(-1))


@planted("the potential's value has b where n b belongs")
def value_beta_for_n_beta(patch: pytest.MonkeyPatch) -> None:
    _with_value(patch, lambda u, v, m, _: v - u.n_beta * m * (1 - 1 / u.loss.sample_count))


# Random numbers.
def _with_stream(patch: pytest.MonkeyPatch, name: str, change: Callable[..., Tensor]) -> None:
    original = getattr(NoiseStreams, name)
    patch.setattr(
        NoiseStreams, name, lambda self, step: change(lambda at: original(self, at), step)
    )


@planted("all chains share the noise of the first")
def noise_shared_by_chains(patch: pytest.MonkeyPatch) -> None:
    _with_stream(patch, "normal", lambda draw, step: draw(step)[:1].expand_as(draw(step)))


@planted("half of the noise's variance is common to all chains")
def noise_half_shared(patch: pytest.MonkeyPatch) -> None:
    def half(draw: Callable[[int], Tensor], step: int) -> Tensor:
        return (draw(step) + draw(step + 1000)[:1]) / math.sqrt(2)

    _with_stream(patch, "normal", half)


@planted("every noise vector is used for two steps")
def noise_used_twice(patch: pytest.MonkeyPatch) -> None:
    _with_stream(patch, "normal", lambda draw, step: draw(step // 2))


@planted("one number is drawn for all coordinates of a chain")
def noise_shared_by_coordinates(patch: pytest.MonkeyPatch) -> None:
    _with_stream(patch, "normal", lambda draw, step: draw(step)[:, :1].expand_as(draw(step)))


@planted("all chains share the minibatches of the first")
def batches_shared_by_chains(patch: pytest.MonkeyPatch) -> None:
    _with_stream(patch, "batches", lambda draw, step: draw(step)[:1].expand_as(draw(step)))


@planted("minibatches are drawn without replacement")
def batches_without_replacement(patch: pytest.MonkeyPatch) -> None:
    def batches(self: NoiseStreams, step: int) -> Tensor:
        assert self.sample_count is not None
        random = torch.rand(
            len(self.chains), self.sample_count, generator=torch.Generator().manual_seed(step)
        )
        return random.argsort(dim=1)[:, : self.batch_size]

    patch.setattr(NoiseStreams, "batches", batches)


@planted("a minibatch holds one sample, repeated")
def batches_of_one_sample(patch: pytest.MonkeyPatch) -> None:
    _with_stream(patch, "batches", lambda draw, step: draw(step)[:, :1].expand_as(draw(step)))


# What is recorded.
def _with_excess(patch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor]) -> None:
    original = observables.Observer.__call__

    def observe(self: Any, w: Tensor) -> Any:
        seen = original(self, w)
        return seen._replace(excess_loss=change(seen.excess_loss))

    patch.setattr(observables.Observer, "__call__", observe)


@planted("losses are recorded on the batch that drove the step, not on the fixed samples")
def observed_on_batch(patch: pytest.MonkeyPatch) -> None:
    last: list[Tensor] = []
    original = NoiseStreams.batches

    def batches(self: NoiseStreams, step: int) -> Tensor | None:
        batch = original(self, step)
        assert batch is not None
        last[:] = [batch]
        return batch

    def on_batch(excess: Tensor) -> Tensor:
        columns = torch.arange(excess.shape[-1]) % last[0].shape[1]
        return excess.gather(-1, last[0][:, columns].expand_as(excess))

    patch.setattr(NoiseStreams, "batches", batches)
    _with_excess(patch, on_batch)


@planted("sample ids are shuffled against the losses")
def sample_ids_shuffled(patch: pytest.MonkeyPatch) -> None:
    _with_excess(patch, lambda excess: excess.roll(1, dims=-1))
