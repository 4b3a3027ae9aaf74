"""Stage: what else compares images: features, gradients, pixels, an untrained network."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stagewise.baselines.features import penultimate
from stagewise.baselines.gradient_gram import gradient_gram
from stagewise.cli.stage import stage
from stagewise.cli.vision_model import device, inputs_of, labels_of, network
from stagewise.config.vision import SimilarityStage
from stagewise.evaluation.feature_similarity import cosine_similarity, negative_distance
from stagewise.models.googlenet import build
from stagewise.provenance import provenance
from stagewise.seeds import seed_sequence
from stagewise.storage import images as images_file
from stagewise.storage import similarity, vision_training

#: Images of one batch of the untrained network; the mean over batches is what BatchNorm keeps.
BATCH = 1024
#: What may be held of small pictures and of photographs, whose jobs ask for more memory.
GLYPH_BYTES, PHOTOGRAPH_BYTES = 2**30, 2**32


def vision_similarity(settings: SimilarityStage, images: Path, training: Path, out: Path) -> None:
    """Compares the recorded images by the features of a checkpoint, and by what knows none."""
    data, trained = images_file.read(images), vision_training.read(training)
    held = images_file.recorded(data)
    normal = float(trained.attrs["shift"]), float(trained.attrs["scale"])
    inputs, labels = inputs_of(held, *normal), labels_of(held)
    module, step = network(data, trained, settings.step)
    values = {"penultimate": cosine_similarity(_array(penultimate(module, inputs)))}
    if settings.step is None:
        gram = _array(gradient_gram(module, inputs, labels, most_bytes=_room(held)))
        size = np.sqrt(np.maximum(np.diag(gram), np.finfo(np.float64).tiny))
        values["gradient"] = gram / np.outer(size, size)
        values["pixel"] = negative_distance(inputs.flatten(1).cpu().numpy())
        start = int(seed_sequence(settings.seed, "vision", "random").generate_state(1)[0])
        fresh = build(data.sizes["class"], start).to(device())
        values["random_init"] = cosine_similarity(_array(_settled(fresh, inputs)))
    record = provenance(
        "vision_similarity",
        settings.model_dump(mode="json"),
        {"images": images, "training": training},
    )
    attrs = {"provenance": json.dumps(record, sort_keys=True)}
    ids = held["sample"].values.tolist()
    similarity.write(similarity.from_arrays(values, ids, step, attrs), out)


def _settled(module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return features of an untrained network whose BatchNorm has seen all images once.

    With its initial statistics activations shrink layer after layer to nothing.
    """
    for one in module.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            one.momentum = None
    with torch.no_grad():
        for batch in inputs.split(BATCH):
            module.train()(batch)
    return penultimate(module.eval(), inputs)


def _room(recorded: xr.Dataset) -> int:
    """Return the bytes that recordings of layers may take: of a GPU a third of what is free."""
    free = torch.cuda.mem_get_info()[0] // 3 if torch.cuda.is_available() else 0
    return max(free, GLYPH_BYTES if "pixels" in recorded else PHOTOGRAPH_BYTES)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()


main = stage(vision_similarity)

if __name__ == "__main__":
    sys.exit(main())
