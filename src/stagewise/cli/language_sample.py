"""Stage: token losses while chains move about a block of one seed's checkpoints."""

import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from stagewise.cli.language_model import checkpoints, token_tensor
from stagewise.cli.stage import stage
from stagewise.config.language import TokenSampleStage
from stagewise.data.pairs import content_hash, token_ids
from stagewise.files import scratch_folder, sha256_file, sha256_json
from stagewise.models.module import ModuleLoss
from stagewise.models.neox import language_loss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.prior import independent_draws
from stagewise.sampling.progress import bar
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import corpus as corpus_file
from stagewise.storage import language_training
from stagewise.storage import trace as trace_file


def language_sample(
    settings: TokenSampleStage,
    corpus: Path,
    training: Path,
    scratch: Path,
    out: Path,
    prior: Path,
) -> None:
    """Samples, resuming where it was interrupted; ``--prior`` takes draws of the nβ = 0 law."""
    found, free = sampled(settings, corpus, training, scratch)
    trace_file.write(found, out)
    trace_file.write(free, prior)


def sampled(
    settings: TokenSampleStage, corpus: Path, training: Path, scratch: Path | None
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the trace of the chains, and that of independent draws at nβ = 0.

    Without ``scratch`` nothing is saved on the way.
    """
    data, chosen = corpus_file.read(corpus), settings.sampling
    train = corpus_file.training_set(data)
    kept = language_training.read(training)
    model, states = checkpoints(settings.network, data, kept, settings.steps)
    loss = language_loss(model, token_tensor(train), states)
    chains = list(range(chosen.chains))[settings.chain_start :][: chosen.chain_block]
    recorded = torch.arange(chosen.recorded, device=loss.centre.device)
    inputs = {"corpus": sha256_file(corpus), "training": sha256_file(training)}
    identity = {"settings": settings.model_dump(), **inputs, "code": loaded_code()}
    # All checkpoints of a training share their noise, different trainings none of it.
    experiment = f"language/{settings.name}/{int(kept.attrs['run_seed'])}"
    with nullcontext() if scratch is None else scratch_folder(scratch, identity) as folder:
        found = _run(settings, loss, chains, recorded, folder, experiment)
    free = independent_draws(
        loss,
        loss.centre,
        chosen.localization,
        chains,
        chosen.prior_draws,
        (settings.seed, experiment),
        recorded,
    )
    traces = []
    for result, n_beta in ((found, chosen.n_beta), (free, 0.0)):
        labels = _attrs(settings, loss, inputs, result, n_beta) | {"experiment": experiment}
        traces.append(_trace(result, train, settings, chains, labels))
    return traces[0], traces[1]


def _run(
    settings: TokenSampleStage,
    loss: ModuleLoss,
    chains: list[int],
    recorded: torch.Tensor,
    folder: Path | None,
    experiment: str,
) -> RunResult:
    chosen = settings.sampling
    kernel = by_name.make(
        chosen.kernel,
        chosen.step_size,
        friction=chosen.friction,
        adapt_steps=chosen.burn_in if chosen.kernel == "rmsprop_sgld" else None,
    )
    streams = NoiseStreams(
        settings.seed,
        experiment,
        chains,
        loss.parameter_count,
        batch_size=chosen.batch_size,
        sample_count=loss.sample_count,
        device=loss.centre.device,
    )
    target = Potential(loss, loss.centre, chosen.n_beta, chosen.localization, chosen.potential)
    schedule = Schedule(chosen.burn_in, chosen.draws, chosen.spacing)
    return run(
        kernel,
        target,
        streams,
        schedule,
        samples=recorded,
        # A GPU is filled by all checkpoints together, a core's cache by few.
        checkpoint_block=None if loss.centre.device.type == "cpu" else len(settings.steps),
        scratch=folder,
        progress=bar(f"{settings.name} {settings.steps[0]}"),
    )


def _trace(
    result: RunResult,
    train: xr.Dataset,
    settings: TokenSampleStage,
    chains: list[int],
    attrs: dict[str, Any],
) -> xr.Dataset:
    names = train["sequence"].values[: settings.sampling.recorded].tolist()
    ids, sequence, position = token_ids(names, train.sizes["predicted"])
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return trace_file.from_arrays(
        **{name: one for name, one in fields.items() if isinstance(one, np.ndarray)},
        sample=ids,
        step=list(settings.steps),
        chain=chains,
        tokens={"sequence": sequence, "position": position},
        attrs=attrs,
    )


def _attrs(
    settings: TokenSampleStage,
    loss: ModuleLoss,
    inputs: dict[str, str],
    result: RunResult,
    n_beta: float,
) -> dict[str, Any]:
    chosen, free = settings.sampling, n_beta == 0
    return {
        "n_beta": n_beta,
        "localization": chosen.localization,
        "step_size": chosen.step_size,
        "friction": chosen.friction or 1.0,
        "kernel": "independent" if free else chosen.kernel,
        "potential": "plain" if free else chosen.potential,
        "loss": "GPT-NeoX/token_losses",
        "batch_size": chosen.batch_size,
        "n": loss.loss_count,
        "seed": settings.seed,
        "versions": versions(),
        "checkpoint_hash": inputs["training"],
        "data_hash": content_hash([loss.targets]),
        # Blocks of chains belong together, so that what tells them apart stays out.
        "settings_hash": sha256_json(settings.model_dump(exclude={"chain_start"})),
        "wall_seconds": result.wall_seconds,
        "chain_steps": result.chain_steps,
    }


main = stage(language_sample)

if __name__ == "__main__":
    sys.exit(main())
