"""Stage: what else compares images: features, gradients, pixels, an untrained network."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from stagewise.baselines.features import gradient_gram, penultimate
from stagewise.cli.stage import stage
from stagewise.cli.vision_model import device, inputs_of, labels_of, network
from stagewise.config.vision import SimilarityStage
from stagewise.evaluation.alignment import cosine_similarity, negative_distance
from stagewise.models.googlenet import build
from stagewise.provenance import provenance
from stagewise.seeds import seed_sequence
from stagewise.storage import images as images_file
from stagewise.storage import similarity, vision_training


def vision_similarity(settings: SimilarityStage, images: Path, training: Path, out: Path) -> None:
    """Compares the recorded images by the features of a checkpoint, and by what knows none."""
    data, trained = images_file.read(images), vision_training.read(training)
    held = images_file.recorded(data)
    normal = float(trained.attrs["shift"]), float(trained.attrs["scale"])
    inputs, labels = inputs_of(held, *normal), labels_of(held)
    module, step = network(data, trained, settings.step)
    values = {"penultimate": cosine_similarity(_array(penultimate(module, inputs)))}
    if settings.step is None:
        gram = _array(gradient_gram(module, inputs, labels))
        size = np.sqrt(np.maximum(np.diag(gram), np.finfo(np.float64).tiny))
        values["gradient"] = gram / np.outer(size, size)
        values["pixel"] = negative_distance(_array(inputs.flatten(1)))
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
    """Return features of an untrained network whose BatchNorm has seen the images once.

    With its initial statistics activations shrink layer after layer to nothing.
    """
    for one in module.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            one.momentum = None
    with torch.no_grad():
        module.train()(inputs)
    return penultimate(module.eval(), inputs)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()


main = stage(vision_similarity)

if __name__ == "__main__":
    sys.exit(main())
