"""Stage: an image network trained on true or on partly flipped labels, or one that is loaded."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import nn

from stagewise.cli.stage import stage
from stagewise.cli.vision_model import device, inputs_of, labels_of, normalisation
from stagewise.config.vision import VisionTrainStage, WeightsSettings
from stagewise.data.flips import flip
from stagewise.errors import ConfigError
from stagewise.files import scratch_folder, sha256_file
from stagewise.models.googlenet import build, flat_state, load, set_flat_state
from stagewise.models.small_maps import use_small_maps
from stagewise.provenance import loaded_code, provenance
from stagewise.sampling.progress import bar
from stagewise.seeds import seed_sequence
from stagewise.storage import images as images_file
from stagewise.storage import vision_training
from stagewise.storage.vision_training import VISION_TRAINING
from stagewise.training.images import Recipe, score, train


def vision_train(settings: VisionTrainStage, images: Path, scratch: Path, out: Path) -> None:
    """Trains, or loads, and measures each kept checkpoint on the held-out images."""
    data = images_file.read(images)
    given = _given(settings, data)
    normal = normalisation(images_file.part(data, images_file.TRAIN))
    if isinstance(settings.network, WeightsSettings):
        chosen = settings.network
        module = load(
            chosen.weights, data.sizes["class"], transform_input=chosen.transform_input
        ).to(device())
        states = {0: flat_state(module).cpu()}
    else:
        identity = {"settings": settings.model_dump(), "code": loaded_code()}
        with scratch_folder(scratch, identity | {"images": sha256_file(images)}) as folder:
            module, states = _trained(settings, data, given, normal, folder)
    found = _measured(module, states, data, normal)
    record = provenance("vision_train", settings.model_dump(mode="json"), {"images": images})
    ids = images_file.part(data, images_file.TRAIN)["sample"].values
    labelled = found.assign(given=("sample", given)).assign_coords(sample=ids)
    vision_training.write(
        labelled.assign_attrs(
            schema=VISION_TRAINING.name,
            schema_version=VISION_TRAINING.version,
            labels=settings.labels,
            parameters=sum(one.numel() for one in module.parameters()),
            transform_input=int(getattr(module, "transform_input", False)),
            shift=normal[0],
            scale=normal[1],
            provenance=json.dumps(record, sort_keys=True),
        ),
        out,
    )


def _given(settings: VisionTrainStage, data: xr.Dataset) -> np.ndarray:
    labels = images_file.part(data, images_file.TRAIN)["label"].values.astype(np.int64)
    if settings.labels == "clean":
        return labels
    if settings.share is None:
        raise ConfigError("labels 'flipped' need a share; set vision.mislabel.share")
    return flip(labels, data.sizes["class"], settings.share, settings.seed)


def _trained(
    settings: VisionTrainStage,
    data: xr.Dataset,
    given: np.ndarray,
    normal: tuple[float, float],
    folder: Path,
) -> tuple[nn.Module, dict[int, torch.Tensor]]:
    chosen = settings.network
    assert not isinstance(chosen, WeightsSettings)
    recipe = Recipe(
        chosen.epochs,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.momentum,
        chosen.weight_decay,
    )
    start = int(seed_sequence(settings.seed, "vision", "init").generate_state(1)[0])
    module = use_small_maps(build(data.sizes["class"], start)).to(device())
    shown = bar(f"train on {settings.labels} labels")
    states = train(
        module,
        inputs_of(images_file.part(data, images_file.TRAIN), *normal),
        torch.from_numpy(given).to(device()),
        recipe,
        settings.seed,
        chosen.checkpoints,
        folder=folder,
        progress=shown,
    )
    shown.close()
    absent = sorted(set(chosen.checkpoints) - set(states))
    if absent:
        raise ConfigError(
            f"vision.network.checkpoints {absent} are not among the {max(states)} steps of the "
            "training; allowed are 0 to that"
        )
    return module, {step: one.cpu() for step, one in sorted(states.items())}


def _measured(
    module: nn.Module,
    states: dict[int, torch.Tensor],
    data: xr.Dataset,
    normal: tuple[float, float],
) -> xr.Dataset:
    held = images_file.part(data, images_file.HELD)
    inputs, labels = inputs_of(held, *normal), labels_of(held)
    scores = []
    for step, state in states.items():
        set_flat_state(module, state.to(device()))
        scores.append(score(module, inputs, labels))
        print(f"step {step}: held-out accuracy {scores[-1].accuracy:.3f}", flush=True)
    columns = {
        "held_loss": [one.loss for one in scores],
        "held_accuracy": [one.accuracy for one in scores],
        "held_accuracy_se": [one.accuracy_se for one in scores],
    }
    arrays = {name: ("checkpoint", np.array(values)) for name, values in columns.items()}
    arrays["state"] = (("checkpoint", "entry"), torch.stack(list(states.values())).numpy())
    return xr.Dataset(arrays, coords={"step": ("checkpoint", list(states))})


main = stage(vision_train)

if __name__ == "__main__":
    sys.exit(main())
