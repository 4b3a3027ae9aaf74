"""Four samplers of one law: ours, two packages', and fifteen lines of plain torch.

Each is a function (problem, draws, seed, noise) -> mean excess loss of each chain over its recorded
draws, or with ``draws`` = 0 the positions after one step, with the first samples as the batch and
without noise: what must agree before anything is timed.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from problems import Problem
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from stagewise.models.linear_net import LinearNetLoss
from stagewise.models.mlp import MLPLoss
from stagewise.models.module import ModuleLoss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels import sgld
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import Noise, NoiseStreams

Sampler = Callable[[Problem, int, int], np.ndarray]


def flat_checkpoints(problem: Problem) -> Tensor:
    """Return the checkpoints (checkpoint, parameter)."""
    names = [name for name, _ in problem.model.named_parameters()]
    rows = [torch.cat([one[name].flatten() for name in names]) for one in problem.checkpoints]
    return torch.stack(rows)


def one_batch(problem: Problem) -> slice:
    """Return the samples of the deterministic step."""
    return slice(0, problem.batch or len(problem.targets))


def random_batch(problem: Problem) -> Tensor:
    """Return a minibatch for each chain (chain, batch), where the data are."""
    shape = (problem.chains, problem.batch)
    return torch.randint(len(problem.targets), shape, device=problem.targets.device)


# --- this project ------------------------------------------------------------------------------


def our_loss(problem: Problem, workload: str) -> PerSampleLoss:
    """Return the loss as a user of this project would choose it: closed form where there is one."""
    if workload == "toy":
        return LinearNetLoss(problem.targets.T.contiguous(), problem.model[0].out_features)
    if workload == "mlp":
        hidden = problem.model[0].out_features
        return MLPLoss(problem.inputs, problem.targets, (64, hidden, 10), "relu")
    return ModuleLoss(
        problem.model,
        problem.loss_fn,
        problem.inputs,
        problem.targets,
        checkpoints=problem.checkpoints,
        per_token=workload == "neox",
    )


def stagewise(problem: Problem, draws: int, seed: int, workload: str) -> np.ndarray:
    """This project's runner."""
    loss, centre = our_loss(problem, workload), flat_checkpoints(problem)
    potential = Potential(loss, centre, problem.n_beta, problem.localization)
    kernel = sgld.Kernel(problem.step_size)
    if draws == 0:
        chosen = None if problem.batch is None else torch.arange(problem.batch)[None]
        still = Noise(torch.zeros_like(centre[:1]))
        with torch.no_grad():
            state = kernel.init(potential, centre[:, None].clone())
            return kernel.step(potential, state, chosen, still)[0].position[:, 0].cpu().numpy()
    streams = NoiseStreams(
        seed,
        "bench",
        problem.chains,
        centre.shape[1],
        batch_size=problem.batch,
        sample_count=len(problem.targets),
        device=centre.device,
    )
    schedule = Schedule(problem.burn_in, draws, problem.spacing)
    result = run(kernel, potential, streams, schedule, samples=torch.arange(problem.recorded))
    return result.excess_loss.mean((2, 3)).ravel()


# --- fifteen lines of torch.func ---------------------------------------------------------------


def plain_vmap(problem: Problem, draws: int, seed: int) -> np.ndarray:
    """What one would write in an afternoon: all chains under vmap, updated in place."""
    torch.manual_seed(seed)
    chains, p = problem.chains, problem
    count = (chains if draws else 1) * len(p.checkpoints)
    names = [name for name, _ in p.model.named_parameters()]
    repeat = count // len(p.checkpoints)
    centre = {
        k: torch.stack([c[k] for c in p.checkpoints]).repeat_interleave(repeat, 0) for k in names
    }
    w = {k: v.clone() for k, v in centre.items()}
    held = {k: v for k, v in p.checkpoints[0].items() if k not in centre}  # buffers

    def losses(w: dict, x: Tensor, y: Tensor) -> Tensor:
        return p.loss_fn(functional_call(p.model, {**held, **w}, (x,)), y)

    data = None if p.batch is None or draws == 0 else 0
    gradient = vmap(grad(lambda w, x, y: losses(w, x, y).mean()), in_dims=(0, data, data))
    record = vmap(losses, in_dims=(0, None, None))
    x, y = p.inputs[: p.recorded], p.targets[: p.recorded]
    reference = record(centre, x, y)
    kept = np.empty((draws, *reference.shape), np.float32)
    for step in range(p.burn_in + draws * p.spacing if draws else 1):
        batch = one_batch(p) if data is None else random_batch(p)
        slopes = gradient(w, p.inputs[batch], p.targets[batch])
        for k in names:
            pull = (w[k] - centre[k]).mul_(-0.5 * p.step_size * p.localization)
            w[k].add_(slopes[k], alpha=-0.5 * p.step_size * p.n_beta).add_(pull)
            w[k].add_(torch.randn_like(w[k]), alpha=p.step_size**0.5 if draws else 0.0)
        draw, rest = divmod(step + 1 - p.burn_in, p.spacing)
        if draws and rest == 0 and draw > 0:
            kept[draw - 1] = (record(w, x, y) - reference).cpu()
    if draws == 0:
        return torch.cat([w[k].flatten(1) for k in names], 1).cpu().numpy()
    return kept.mean(0).reshape(count, -1).mean(-1)


# --- posteriors --------------------------------------------------------------------------------


def posteriors_sgld(problem: Problem, draws: int, seed: int) -> np.ndarray:
    """The SGLD of posteriors on flat positions; the log posterior is vmapped over chains.

    Its step is w + lr grad log p + sqrt(2 lr T) xi, so that lr is half our step size.
    """
    from posteriors.sgmcmc import sgld as theirs

    torch.manual_seed(seed)
    p, chains = problem, problem.chains if draws else 1
    centre = flat_checkpoints(p).repeat_interleave(chains, 0)
    shapes = {k: v.shape for k, v in p.model.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]
    held = {k: v for k, v in p.checkpoints[0].items() if k not in shapes}

    def losses(w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        parts = zip(shapes.items(), w.split(sizes), strict=True)
        named = {k: part.view(shape) for (k, shape), part in parts}
        return p.loss_fn(functional_call(p.model, {**held, **named}, (x,)), y)

    data = None if p.batch is None or draws == 0 else 0
    means = vmap(lambda w, x, y: losses(w, x, y).mean(), in_dims=(0, data, data))
    record = vmap(losses, in_dims=(0, None, None))

    def log_posterior(w: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        distance = (w - centre).square().sum()
        total = p.n_beta * means(w, *batch).sum() + 0.5 * p.localization * distance
        return -total, torch.empty(0)

    method = theirs.build(log_posterior, lr=0.5 * p.step_size, temperature=1.0 if draws else 0.0)
    state = method.init(centre.clone())
    x, y = p.inputs[: p.recorded], p.targets[: p.recorded]
    with torch.no_grad():
        reference = record(centre, x, y)
    kept = np.empty((draws, *reference.shape), np.float32)
    for step in range(p.burn_in + draws * p.spacing if draws else 1):
        batch = one_batch(p) if data is None else random_batch(p)
        state, _ = method.update(state, (p.inputs[batch], p.targets[batch]), inplace=False)
        draw, rest = divmod(step + 1 - p.burn_in, p.spacing)
        if draws and rest == 0 and draw > 0:
            with torch.no_grad():
                kept[draw - 1] = (record(state.params, x, y) - reference).cpu()
    if draws == 0:
        return state.params.detach().cpu().numpy()
    return kept.mean(0).reshape(len(centre), -1).mean(-1)


# --- devinterp ---------------------------------------------------------------------------------


class Samples(torch.utils.data.Dataset):
    """Samples in the form that devinterp's loader takes."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        """Hold the tensors."""
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._targets)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one of them."""
        return {"input_ids": self._inputs[index], "labels": self._targets[index]}


def devinterp_sgld(problem: Problem, draws: int, seed: int) -> np.ndarray:
    """The chain and optimiser of devinterp, one chain after another, without its progress bar."""
    from devinterp.optim import SGLD
    from devinterp.slt.sampler import sample_single_chain

    warnings.simplefilter("ignore")
    p, found = problem, []

    def evaluate(model: nn.Module, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        if model.training:  # frozen statistics and no dropout, as for everyone here
            model.eval()
        return p.mean_loss(model, data["input_ids"], data["labels"]), {}

    x, y = p.inputs[: p.recorded], p.targets[: p.recorded]
    kept: list[np.ndarray] = []

    def observe(model: nn.Module, **_: Any) -> None:
        kept.append((p.loss_fn(model(x), y) - reference).detach().cpu().numpy())

    last: list[np.ndarray] = []

    def after(chain: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        weights = [one for group in optimizer.param_groups for one in group["params"]]
        last.append(torch.cat([one.detach().flatten() for one in weights]).cpu().numpy())

    data = Samples(*(one[one_batch(p)] if draws == 0 else one for one in (p.inputs, p.targets)))
    for index, checkpoint in enumerate(p.checkpoints):
        p.model.load_state_dict(checkpoint)
        with torch.no_grad():
            reference = p.loss_fn(p.model(x), y)
        for chain in range(p.chains if draws else 1):
            kept.clear()
            sample_single_chain(
                p.model,
                data,
                evaluate,
                {name: None for name, _ in p.model.named_parameters()},
                num_draws=max(draws, 1),
                # It records after the first step of each spacing, we after the last.
                num_burnin_steps=p.burn_in + p.spacing - 1 if draws else 0,
                num_steps_bw_draws=p.spacing if draws else 1,
                sampling_method=SGLD,
                sampling_method_kwargs={
                    "lr": p.step_size,
                    "nbeta": p.n_beta,
                    "localization": p.localization,
                    "noise_level": 1.0 if draws else 0.0,
                },
                chain=chain,
                seed=seed + 1000 * index + chain,
                dataloader_seed=seed + 1000 * index + chain,
                callbacks=[observe] if draws else None,
                step_callback=None if draws else after,
                batch_size=p.batch or len(p.targets),
                device=str(p.targets.device),
            )
            found.append(float(np.mean(kept)) if draws else 0.0)
    return np.array(found) if draws else np.stack(last)


def make(name: str, workload: str) -> Sampler:
    """Return a sampler by name."""
    if name == "stagewise":
        return lambda problem, draws, seed: stagewise(problem, draws, seed, workload)
    return {"vmap": plain_vmap, "posteriors": posteriors_sgld, "devinterp": devinterp_sgld}[name]
