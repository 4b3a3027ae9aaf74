"""Stage: what the loss kernel of an image network knows of the taxonomy, and what others know."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.vision import VisionTableStage
from stagewise.evaluation.vision import Layout, layout
from stagewise.evaluation.vision_numbers import run_numbers
from stagewise.evaluation.vision_tables import (
    Sources,
    comparison_tables,
    draws_table,
    early_table,
    image_table,
    lead_table,
    matrix_table,
    neighbour_table,
    sources,
)
from stagewise.files import atomic_path
from stagewise.seeds import generator
from stagewise.storage import images as images_file
from stagewise.storage import items as items_file
from stagewise.storage import similarity, vision_training
from stagewise.storage.metrics import write_numbers


def vision_tables(
    settings: VisionTableStage,
    images: Path,
    items: Path,
    training: Path,
    kernels: list[Path],
    similarities: list[Path],
    tables: Path,
    numbers: Path,
) -> None:
    """Compares kernels and other similarities with the taxonomy."""
    data, tree = images_file.read(images), items_file.read(items)
    held, train = images_file.recorded(data), images_file.part(data, images_file.TRAIN)
    of = layout(held, tree, _counts(train))
    files = [similarity.read(path) for path in kernels]
    found = sources(files, [similarity.read(path) for path in similarities], of.ids)
    chains = int(files[0].attrs["chains"])
    made = comparison_tables(of, found, settings.permutations, settings.seed)
    made |= _others(settings, of, found, chains)
    made["vision_leads"] = lead_table(of, found)
    made["vision_images"] = image_table(held, tree, of)
    for name, table in made.items():
        _write(table, tables / f"{name}.csv")
    prefix = "vision" if settings.main else f"vision.{settings.run}"
    trained = vision_training.read(training)
    write_numbers(run_numbers(made, files, found, trained, of, prefix), numbers)


def _counts(train: xr.Dataset) -> dict[str, int]:
    classes = train["class"].values.astype(str)
    counts = np.bincount(train["label"].values, minlength=len(classes))
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _others(
    settings: VisionTableStage, of: Layout, found: Sources, chains: int
) -> dict[str, pd.DataFrame]:
    rng = generator(settings.seed, "vision", "queries")
    return {
        "vision_draws": draws_table(of, found, chains),
        "vision_early": early_table(of, found),
        "vision_matrix": matrix_table(of, found),
        "vision_neighbours": neighbour_table(of, found, rng),
    }


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


main = stage(vision_tables)

if __name__ == "__main__":
    sys.exit(main())
