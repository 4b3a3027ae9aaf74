"""Stage: losses of images while chains move about one checkpoint of an image network."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stagewise.cli.stage import stage
from stagewise.cli.vision_model import inputs_of, labels_of, network, queries_of
from stagewise.config.vision import VisionSampleStage
from stagewise.data.flips import judged
from stagewise.data.pairs import content_hash
from stagewise.files import scratch_folder, sha256_file, sha256_json
from stagewise.models.googlenet import image_loss
from stagewise.models.module import ModuleLoss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Potential
from stagewise.sampling.prior import independent_draws
from stagewise.sampling.progress import bar
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.seeds import generator
from stagewise.storage import images as images_file
from stagewise.storage import trace as trace_file
from stagewise.storage import vision_training

#: Training images on which the loss of a chain is watched where held-out images are recorded.
WATCHED = 32


class _Task(NamedTuple):
    """Losses that drive the chains, which of them are recorded, and further losses that are."""

    train: ModuleLoss
    samples: Tensor
    also: ModuleLoss
    train_ids: list[str]
    also_ids: list[str]
    step: int


def vision_sample(
    settings: VisionSampleStage, images: Path, training: Path, scratch: Path, out: Path
) -> None:
    """Samples, resuming where it was interrupted; at nβ = 0 draws are independent."""
    task = _task(settings, images_file.read(images), vision_training.read(training))
    inputs = {"images": sha256_file(images), "training": sha256_file(training)}
    chains = list(range(settings.sampling.chains))[settings.chain_start :]
    chains = chains[: settings.sampling.chain_block]
    identity = {"settings": settings.model_dump(), **inputs, "code": loaded_code()}
    # All checkpoints and settings share the noise of a sampling seed.
    experiment = f"vision/{settings.run_seed}"
    with scratch_folder(scratch, identity) as folder:
        result = _run(settings, task, chains, experiment, folder)
    attrs = _attrs(settings, task, inputs, result) | {"experiment": experiment}
    trace_file.write(_trace(settings, task, result, chains, attrs), out)


def _task(settings: VisionSampleStage, data: xr.Dataset, training: xr.Dataset) -> _Task:
    module, step = network(data, training, settings.step)
    normal = float(training.attrs["shift"]), float(training.attrs["scale"])
    train = images_file.part(data, images_file.TRAIN)
    given = training["given"].values.astype(np.int64)
    picked = np.zeros(0, np.int64)
    if settings.recorded == "judged":
        true = train["label"].values.astype(np.int64)
        picked = judged(true, given, settings.judged or 0, settings.seed)
        also = queries_of(data, given[picked], settings.queries or 0, settings.seed)
    elif settings.recorded == "tuning":
        also = images_file.part(data, images_file.TUNING)
    else:
        also = images_file.recorded(data)
    driving = _driving(len(given), picked, settings)
    loss = image_loss(
        module,
        inputs_of(train.isel(sample=driving), *normal),
        torch.from_numpy(given[driving]).to(labels_of(also)),
    )
    count = len(picked) or min(WATCHED, len(driving))
    return _Task(
        loss,
        torch.arange(count),
        loss.with_data(inputs_of(also, *normal), labels_of(also)),
        train["sample"].values[driving[:count]].tolist(),
        also["sample"].values.tolist(),
        step,
    )


def _driving(count: int, picked: np.ndarray, settings: VisionSampleStage) -> np.ndarray:
    """Return the training images of the potential: those that are recorded first."""
    rest = generator(settings.seed, "vision", "driving").permutation(count)
    order = np.concatenate([picked, rest[~np.isin(rest, picked)]])
    return order[: settings.sampling.driving]


def _run(
    settings: VisionSampleStage, task: _Task, chains: list[int], experiment: str, folder: Path
) -> RunResult:
    chosen, loss = settings.sampling, task.train
    if chosen.n_beta == 0:
        stream = (settings.seed, experiment)
        return independent_draws(
            task.also, loss.centre, chosen.localization, chains, chosen.draws, stream
        )
    kernel = by_name.make(chosen.kernel, chosen.step_size, friction=chosen.friction)
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
    return run(
        kernel,
        target,
        streams,
        Schedule(chosen.burn_in, chosen.draws, chosen.spacing),
        samples=task.samples.to(loss.centre.device),
        queries=task.also,
        scratch=folder,
        progress=bar(settings.name),
    )


def _trace(
    settings: VisionSampleStage,
    task: _Task,
    result: RunResult,
    chains: list[int],
    attrs: dict[str, Any],
) -> xr.Dataset:
    """Label the arrays: the held-out images are the samples where the kernel is of them."""
    names = ("train_loss", "potential", "distance", "status", "diverged_step")
    arrays = {name: getattr(result, name)[0] for name in names}
    losses = {"excess_loss": result.excess_loss, "loss_ref": result.loss_ref}
    ids = {"sample": task.train_ids}
    if settings.recorded != "judged":
        ids = {"sample": task.also_ids}
        if result.query_excess_loss is not None:
            losses = {
                "excess_loss": result.query_excess_loss,
                "loss_ref": result.query_loss_ref,
            }
    else:
        ids["query"] = task.also_ids
        losses |= {
            "query_excess_loss": result.query_excess_loss,
            "query_loss_ref": result.query_loss_ref,
        }
    arrays |= {name: one[0] for name, one in losses.items()}
    return trace_file.from_arrays(**arrays, **ids, chain=chains, attrs=attrs)


def _attrs(
    settings: VisionSampleStage, task: _Task, inputs: dict[str, str], result: RunResult
) -> dict[str, Any]:
    chosen, free = settings.sampling, settings.sampling.n_beta == 0
    return {
        "n_beta": chosen.n_beta,
        "localization": chosen.localization,
        "step_size": chosen.step_size,
        "friction": chosen.friction or 1.0,
        "kernel": "independent" if free else chosen.kernel,
        "potential": "plain" if free else chosen.potential,
        "loss": "GoogLeNet/cross_entropy",
        "batch_size": chosen.batch_size,
        "n": task.train.sample_count,
        "step": task.step,
        "seed": settings.seed,
        "run_seed": settings.run_seed,
        "versions": versions(),
        "checkpoint_hash": inputs["training"],
        "data_hash": content_hash([task.also.targets]),
        # Blocks of chains belong together, so that what tells them apart stays out.
        "settings_hash": sha256_json(settings.model_dump(exclude={"chain_start"})),
        "wall_seconds": result.wall_seconds,
        "chain_steps": result.chain_steps,
    }


main = stage(vision_sample)

if __name__ == "__main__":
    sys.exit(main())
