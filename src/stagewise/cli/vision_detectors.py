"""Stage: what could find flipped labels without any sampling, and EK-FAC's influence."""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stagewise.baselines.ekfac import ekfac_influence
from stagewise.baselines.factors import FactorSettings
from stagewise.baselines.features import el2n, penultimate, sample_losses
from stagewise.baselines.gradient_gram import gradient_gram
from stagewise.cli.stage import stage
from stagewise.cli.vision_model import inputs_of, labels_of, network, queries_of
from stagewise.config.vision import DetectorStage
from stagewise.data.flips import judged
from stagewise.evaluation.feature_similarity import cosine_similarity
from stagewise.files import scratch_folder, sha256_file
from stagewise.provenance import loaded_code, provenance
from stagewise.seeds import generator
from stagewise.storage import detectors, vision_training
from stagewise.storage import images as images_file
from stagewise.storage.detectors import DETECTORS


def vision_detectors(
    settings: DetectorStage, images: Path, training: Path, scratch: Path, out: Path
) -> None:
    """Measures the judged images of a training on flipped labels."""
    data, trained = images_file.read(images), vision_training.read(training)
    module, _ = network(data, trained, None)
    normal = float(trained.attrs["shift"]), float(trained.attrs["scale"])
    train = images_file.part(data, images_file.TRAIN)
    given = trained["given"].values.astype(np.int64)
    chosen, wanted = settings.mislabel, settings.mislabel.judged
    picked = judged(train["label"].values.astype(np.int64), given, wanted, settings.seed)
    some = train.isel(sample=picked)
    asked = queries_of(data, given[picked], chosen.queries, settings.seed)
    inputs, queries = inputs_of(some, *normal), inputs_of(asked, *normal)
    labels, truth = torch.from_numpy(given[picked]).to(labels_of(some)), labels_of(asked)
    gram = gradient_gram(module, torch.cat([inputs, queries]), torch.cat([labels, truth]))
    gram = gram.double().cpu().numpy()
    begun = time.monotonic()
    identity = {"settings": settings.model_dump(), "code": loaded_code()}
    identity |= {"images": sha256_file(images), "training": sha256_file(training)}
    more = _others(len(given), picked, chosen.factor_images, settings.seed)
    with scratch_folder(scratch, identity) as folder:
        fitted = torch.cat([inputs, inputs_of(train.isel(sample=more), *normal)])
        known = torch.cat([labels, torch.from_numpy(given[more]).to(labels)])
        scores = ekfac_influence(
            module,
            (fitted, known),
            (queries, truth),
            damping=chosen.damping,
            folder=folder,
            settings=FactorSettings(seed=settings.seed),
        )[:, : len(picked)]
    seconds = time.monotonic() - begun
    features = cosine_similarity(penultimate(module, inputs).double().cpu().numpy())
    columns = {
        "flipped": given[picked] != some["label"].values,
        "given": given[picked],
        "loss": sample_losses(module, inputs, labels).cpu().numpy(),
        "el2n": el2n(module, inputs, labels).cpu().numpy(),
        "self_gradient": np.diag(gram)[: len(picked)],
    }
    found = xr.Dataset(
        {
            **{name: ("sample", values) for name, values in columns.items()},
            "penultimate": (("sample", "partner"), features),
            "ekfac": (("query", "sample"), scores.cpu().numpy()),
            "gradient": (("query", "sample"), -gram[len(picked) :, : len(picked)]),
        },
        coords={"sample": some["sample"].values, "query": asked["sample"].values},
    )
    sources = {"images": images, "training": training}
    record = provenance("vision_detectors", settings.model_dump(mode="json"), sources)
    detectors.write(
        found.assign_attrs(
            schema=DETECTORS.name,
            schema_version=DETECTORS.version,
            ekfac_seconds=seconds,
            # A file's attributes know no null, by which each layer has a damping of its own.
            damping=math.nan if chosen.damping is None else chosen.damping,
            provenance=json.dumps(record, sort_keys=True),
        ),
        out,
    )


def _others(count: int, picked: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """Return further training images that EK-FAC's factors are fitted on, beside the judged."""
    rest = np.setdiff1d(np.arange(count), picked)
    most = min(max(wanted - len(picked), 0), len(rest))
    return generator(seed, "factors").choice(rest, most, replace=False)


main = stage(vision_detectors)

if __name__ == "__main__":
    sys.exit(main())
