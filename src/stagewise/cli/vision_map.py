"""Stage: maps of the images in the plane by UMAP on 1 - R, at every checkpoint.

Source: McInnes, Healy & Melville 2018, arXiv:1802.03426 (UMAP), by the package umap-learn.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from stagewise.cli.stage import stage
from stagewise.config.vision import MapStage
from stagewise.evaluation.taxonomy import ancestor_at_depth, ancestry
from stagewise.evaluation.vision_tables import sources, zooms
from stagewise.files import atomic_path
from stagewise.seeds import seed_sequence
from stagewise.storage import images as images_file
from stagewise.storage import items as items_file
from stagewise.storage import similarity


def vision_map(
    settings: MapStage,
    images: Path,
    items: Path,
    kernels: list[Path],
    similarities: list[Path],
    table: Path,
) -> None:
    """Lays the last checkpoint's images out, and each earlier one's from where the next's lie."""
    held = images_file.recorded(images_file.read(images))
    ids = held["sample"].values.astype(str).tolist()
    files = [[similarity.read(path) for path in paths] for paths in (kernels, similarities)]
    found = sources(*files, ids)
    labels = held["class"].values.astype(str)[held["label"].values]
    groups = np.array(ancestor_at_depth(ancestry(items_file.read(items), labels.tolist()), 1))
    by_step = {**found.early, found.step: found.pooled()}
    seed = int(seed_sequence(settings.seed, "vision", "map").generate_state(1)[0])
    rows, points = [], None
    for step in sorted(by_step, reverse=True):
        points = _plane(by_step[step], settings.neighbours, seed, points)
        corner = zooms(points, groups) if step == found.step else np.full(len(ids), -1)
        columns = {"id": ids, "x": points[:, 0], "y": points[:, 1], "zoom": corner}
        rows.append(pd.DataFrame({"step": step, **columns}))
    with atomic_path(table) as temporary:
        pd.concat(rows, ignore_index=True).to_csv(temporary, index=False)


def _plane(
    correlation: Float[np.ndarray, "sample sample"],
    neighbours: int,
    seed: int,
    start: Float[np.ndarray, "sample 2"] | None,
) -> Float[np.ndarray, "sample 2"]:
    # Numba takes every core otherwise, whatever the rule asked for; it reads this when loaded.
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS") or "1")
    import umap  # compiles on import, which takes seconds

    distance = np.maximum(1.0 - correlation, 0.0)
    np.fill_diagonal(distance, 0.0)
    count = min(neighbours, len(distance) - 1)
    maker = umap.UMAP(
        n_neighbors=count,
        metric="precomputed",
        random_state=seed,
        init="random" if start is None else start.astype(np.float32),
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that a precomputed metric has no inverse
        return np.asarray(maker.fit_transform(distance), np.float64)


main = stage(vision_map)

if __name__ == "__main__":
    sys.exit(main())
