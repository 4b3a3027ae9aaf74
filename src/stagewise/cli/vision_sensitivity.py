"""Stage: how the loss kernel of images depends on the sampler's settings, or on its draws."""

import sys
from pathlib import Path

import numpy as np

from stagewise.cli.stage import stage
from stagewise.config.vision_study import SensitivityStage
from stagewise.evaluation.records import as_numbers
from stagewise.evaluation.vision import layout
from stagewise.evaluation.vision_study import sensitivity_table, studied, study_numbers
from stagewise.files import atomic_path
from stagewise.storage import images as images_file
from stagewise.storage import items as items_file
from stagewise.storage import similarity
from stagewise.storage.metrics import write_numbers

SOURCE = "vision_sensitivity"


def vision_sensitivity(
    settings: SensitivityStage,
    images: Path,
    items: Path,
    kernels: list[Path],
    table: Path,
    numbers: Path,
) -> None:
    """Compares the kernels of a grid, or one of many draws, with those of the main runs."""
    data, tree = images_file.read(images), items_file.read(items)
    train = images_file.part(data, images_file.TRAIN)
    counts = np.bincount(train["label"].values, minlength=train.sizes["class"])
    classes = train["class"].values.astype(str).tolist()
    counted = dict(zip(classes, counts.tolist(), strict=True))
    of = layout(images_file.recorded(data), tree, counted)
    found = studied([similarity.read(path) for path in kernels], settings.grid, of)
    made = sensitivity_table(found, settings.grid, of)
    with atomic_path(table) as temporary:
        made.to_csv(temporary, index=False)
    summaries = study_numbers(made, found, of, settings.permutations, settings.seed)
    prefix = "vision.study" if settings.main else f"vision.{settings.run}.study"
    write_numbers(as_numbers(summaries, prefix, SOURCE), numbers)


main = stage(vision_sensitivity)

if __name__ == "__main__":
    sys.exit(main())
