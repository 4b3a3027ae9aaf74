"""Stage: what finds flipped labels, and influence on held-out images beside EK-FAC's."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from stagewise.cli.stage import stage
from stagewise.config.vision import MislabelStage
from stagewise.estimators.influence import bif
from stagewise.evaluation.mislabel import (
    Judged,
    check,
    detector_table,
    influence_table,
    mislabel_numbers,
)
from stagewise.evaluation.vision_tables import packed
from stagewise.files import atomic_path
from stagewise.seeds import generator
from stagewise.storage import detectors, similarity, trace
from stagewise.storage import images as images_file
from stagewise.storage.metrics import write_numbers


def vision_mislabel(
    settings: MislabelStage,
    images: Path,
    kernel: Path,
    traces: list[Path],
    detected: Path,
    tables: Path,
    numbers: Path,
) -> None:
    """Judges the detectors and puts influences side by side."""
    found = similarity.read(kernel)
    whole = trace.merge([trace.read(path) for path in traces])
    judged = Judged(
        detectors.read(detected),
        found["value"].sel({"method": "kernel"}).values.astype(np.float64),
        found["variance"].values,
        bif(whole),
        _pixels(images),
        found.attrs,
    )
    check(judged)
    rng = generator(settings.seed, "vision", "detectors")
    table = detector_table(judged, settings.neighbours, rng)
    _write(table, tables / "vision_detectors.csv")
    _write(influence_table(judged), tables / "vision_influence.csv")
    prefix = "vision" if settings.main else f"vision.{settings.run}"
    write_numbers(mislabel_numbers(judged, table, prefix), numbers)


def _pixels(path: Path) -> dict[str, str]:
    data = images_file.read(path)
    ids = data["sample"].values.astype(str).tolist()
    return dict(zip(ids, map(packed, images_file.thumbnails(data)), strict=True))


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


main = stage(vision_mislabel)

if __name__ == "__main__":
    sys.exit(main())
