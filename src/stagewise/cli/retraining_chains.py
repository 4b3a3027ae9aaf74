"""The chains behind the Bayesian influence functions of a retrained problem: settings and runs.

One calibration is varied in damping and nβ. The step is the calibration's share of what is
stable, the friction critical for the flattest direction, and burn-in and spacing are as many of its
relaxation times:

    ε ∝ 1 / (nβ (λ_max + δ)),   f = 1 - exp(-2 h),   h = sqrt(ε γ / 2),   steps ∝ 1 / h.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stagewise.calibration.settings import Calibration
from stagewise.cli.retraining_problem import Problem
from stagewise.config.retraining import ProblemStage, SampledSettings
from stagewise.data.pairs import content_hash
from stagewise.files import sha256_json
from stagewise.models.classifier import ClassifierLoss
from stagewise.provenance import versions
from stagewise.sampling.potential import Potential
from stagewise.sampling.progress import bar
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import trace as trace_file


def varied(
    found: Calibration,
    sampled: SampledSettings,
    damping: float,
    n_beta: float,
    largest: float | None = None,
) -> Calibration:
    """Return the calibration at another damping and nβ.

    Args:
        found: The calibration.
        sampled: Its damping, and the budget of a run.
        damping: δ = γ/nβ, nats per squared unit of weight.
        n_beta: nβ.
        largest: λ_max of the network that is sampled; None is that of the calibrated one.
    """
    known = float(found.evidence["curvature_largest"] or 0.0)
    largest = known if largest is None else largest
    stiffer = (known + sampled.damping) / (largest + damping)
    step_size = found.step_size * found.n_beta / n_beta * stiffer
    rate = math.sqrt(0.5 * step_size * n_beta * damping)
    slower = math.sqrt(0.5 * found.step_size * found.localization) / rate
    return dataclasses.replace(
        found,
        n_beta=n_beta,
        localization=n_beta * damping,
        step_size=step_size,
        friction=-math.expm1(-2.0 * rate),
        chains=sampled.chains,
        burn_in=math.ceil(found.burn_in * slower),
        draws=sampled.draws,
        spacing=max(1, round(found.spacing * slower)),
    )


def described(sampled: SampledSettings, setting: int) -> str:
    """Return a setting in words."""
    return "damping {:g}, nβ {:g}".format(*sampled.pairs()[setting])


def sample(
    settings: ProblemStage,
    problem: Problem,
    centre: torch.Tensor,
    chosen: Calibration,
    name: str,
    folder: Path,
) -> xr.Dataset:
    """Run the chains, resuming from ``folder``, and return their trace.

    Args:
        settings: The problem.
        problem: Its losses.
        centre: w*.
        chosen: Settings of the run.
        name: Of the run and its random streams.
        folder: Where it keeps what it can resume from.

    Raises:
        DivergenceError: See ``stagewise.estimators``, which leave out chains that diverged.
    """
    potential = Potential(
        problem.train,
        centre[None],
        chosen.n_beta,
        chosen.localization,
        chosen.potential,
        chosen.control_variate,
    )
    experiment = f"retraining/{settings.name}/{name}"
    streams = NoiseStreams(
        settings.seed,
        experiment,
        chosen.chains,
        problem.train.parameter_count,
        batch_size=chosen.batch_size,
        sample_count=problem.train.sample_count,
        dtype=centre.dtype,
        device=centre.device,
    )
    result = run(
        chosen.make_kernel(),
        potential,
        streams,
        chosen.schedule(),
        queries=problem.queries,
        scratch=folder,
        progress=bar(name),
    )
    arrays = {
        field.name: getattr(result, field.name)[0]
        for field in dataclasses.fields(result)
        if isinstance(getattr(result, field.name), np.ndarray)
    }
    return trace_file.from_arrays(
        **arrays,
        sample=problem.samples.ids,
        query=problem.asked.ids,
        attrs={
            "n_beta": chosen.n_beta,
            "localization": chosen.localization,
            "step_size": chosen.step_size,
            "friction": chosen.friction or 1.0,
            "kernel": chosen.kernel,
            "potential": chosen.potential,
            "loss": f"{type(problem.train).__name__}/cross_entropy",
            "batch_size": chosen.batch_size or 0,
            "n": problem.train.sample_count,
            "seed": settings.seed,
            "experiment": experiment,
            "versions": versions(),
            "checkpoint_hash": content_hash([centre]),
            "data_hash": content_hash([*_data(problem.train), *_data(problem.queries)]),
            "settings_hash": sha256_json(settings.model_dump()),
            "wall_seconds": result.wall_seconds,
            "chain_steps": result.chain_steps,
        },
    )


def _data(loss: ClassifierLoss) -> tuple[torch.Tensor, torch.Tensor]:
    return loss.inputs, loss.labels
