"""devinterp (timaeus-research): its sampling loop with its default SGLD, and its RMSProp-SGLD.

Its update (optim/sgmcmc.py) is w' = w - (lr/2)(nbeta grad L_B + localization (w - w_0)) + sqrt(lr)
xi: lr is this project's epsilon, nbeta and localization are the same numbers. What differs, and how
it is met here:

- One call of its loop runs one chain. Here all chains are one parameter, (chain, parameter), and
  ``evaluate`` returns for each sample the sum of its losses over chains, of whose mean the loop
  takes the gradient: each chain's own. Pull and noise act on each number by itself, so that every
  row is a chain of the library's own update; a call per chain would take a minute per problem.
- A draw is recorded after the first step that follows the burn-in and then every
  ``num_steps_bw_draws`` steps. The last ``num_steps_bw_draws - 1`` steps are taken and not seen.
  Nothing to mend: the chain is stationary by then.
- Batches come from a shuffled loader, whose first pass is by default repeated for ever
  (``epoch_mode="cycle"``). A loader of one row, the indices of all samples, is the full gradient.
  With minibatches drawn with replacement, as the problem asks, the rows are drawn beforehand, for
  each step and chain its own, and read once in their order (``epoch_mode="once"``).
- The module is put in train mode; the problems' modules have nothing that this changes.
- Its progress bar goes to stderr and is swallowed.
"""

import contextlib
import importlib
import io
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stagewise.conformance.adapters.installed import version_of
from stagewise.conformance.adapters.stagewise import RMSPROP_SHARE
from stagewise.conformance.problem import CONTINUUM, Law, Problem
from stagewise.errors import ConfigError

Method = Literal["sgld", "rmsprop_sgld"]
_METHODS = {"sgld": "sgmcmc_sgld", "rmsprop_sgld": "rmsprop_sgld"}


class DevinterpSampler:
    """``devinterp.slt.sampler.sample_single_chain``.

    Args:
        method: "sgld" (the library's default) or "rmsprop_sgld" (which adapts for ever).
    """

    def __init__(self, method: Method) -> None:
        """Look the library up."""
        self.name, self._method = f"devinterp_{method}", method
        self.version = version_of("devinterp")
        self.settings: dict[str, Any] = {}
        self.law = Law("sgld") if method == "sgld" else CONTINUUM

    def sample(self, problem: Problem, seed: int) -> Float[np.ndarray, "chain draw sample"]:
        """Run the chains and return the losses."""
        loop = importlib.import_module("devinterp.slt.sampler")
        methods = importlib.import_module("devinterp.slt.config").SAMPLING_METHODS
        given = problem.settings
        share = RMSPROP_SHARE if self._method == "rmsprop_sgld" else 1.0
        full = given.batch_size is None
        self.settings = {
            "sampling_method": _METHODS[self._method],
            "lr": share * given.step_size,
            "nbeta": given.n_beta,
            "localization": given.localization,
            "num_draws": given.draws,
            "num_burnin_steps": given.burn_in,
            "num_steps_bw_draws": given.spacing,
            "epoch_mode": "cycle" if full else "once",
        }
        optimizer = {name: self.settings[name] for name in ("lr", "nbeta", "localization")}
        length = {name: self.settings[name] for name in self.settings if name.startswith("num_")}
        recorded: list[Tensor] = []

        def record(*, model: nn.Module, **_: Any) -> None:
            recorded.append(torch.vmap(problem.losses)(model.w.detach()))

        with torch.random.fork_rng(devices=[]), contextlib.redirect_stderr(io.StringIO()):
            loop.sample_single_chain(
                _Chains(problem),
                _Batches(problem, seed),
                lambda model, batch: (model(batch["input_ids"][0]), {}),
                {"w": None},
                sampling_method=methods[_METHODS[self._method]],
                sampling_method_kwargs=optimizer,
                seed=seed % 2**31,
                callbacks=[record],
                batch_size=1,
                shuffle=False,
                epoch_mode=self.settings["epoch_mode"],
                **length,
            )
        if len(recorded) != given.draws:  # it warns and gives up where a loss isn't finite
            raise ConfigError(
                f"sampler {self.name!r} on problem {problem.name!r} stopped after "
                f"{len(recorded)} of {given.draws} draws: a loss was not finite"
            )
        return torch.stack(recorded, dim=1).numpy()


class _Chains(nn.Module):
    """All chains as one parameter; indices (chain, batch) -> summed losses (batch,)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.w = nn.Parameter(problem.checkpoint.repeat(problem.settings.chains, 1))
        self._loss, self._data = problem.loss, problem.data

    def forward(self, samples: Tensor) -> Tensor:
        return torch.vmap(self._loss)(self.w, self._data[samples]).sum(0)


class _Batches(torch.utils.data.Dataset):
    """Sample indices of every chain (chain, batch), one item per step; or one item with all."""

    def __init__(self, problem: Problem, seed: int) -> None:
        given = problem.settings
        self._items = torch.arange(problem.sample_count).expand(1, given.chains, -1)
        if given.batch_size is not None:
            steps = given.burn_in + given.draws * given.spacing
            generator = torch.Generator().manual_seed(seed + 1)
            shape = (steps, given.chains, given.batch_size)
            self._items = torch.randint(problem.sample_count, shape, generator=generator)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._items[index]}
