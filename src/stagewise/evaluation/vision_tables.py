"""Tables behind the figures of one image network: alignment, maps, neighbours, development."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import UInt8

from stagewise.errors import SchemaError
from stagewise.evaluation.alignment import class_means
from stagewise.evaluation.alignment_errors import jackknife_error
from stagewise.evaluation.taxonomy import ancestor_at_depth
from stagewise.evaluation.vision import (
    Layout,
    Similarity,
    alignment_rows,
    depth_rows,
    relation_rows,
    scores,
    tagged,
)
from stagewise.storage import images as images_file

#: Methods of the pooled comparison, as figures order them.
KERNEL, PRIOR, WIDE = "kernel", "prior", "wide"
#: Relations whose development is followed.
FOLLOWED = ("same class", "other diacritic", "other case", "same parent", "same script")
NEIGHBOURS, QUERIES = 6, 10
ZOOMS, ZOOM_SIZE = 3, 26


class Sources(NamedTuple):
    """Similarities of the recorded images.

    Attributes:
        main: Kernels by sampling seed.
        others: Kernels of other chains by method: of independent draws without data, and of
            heated chains where there are any.
        parts: Kernels of fewer draws of every chain, evenly spread, by seed and draws.
        early: Kernels by step of the earlier checkpoints.
        early_draws: How many draws of a chain these are of.
        baselines: Other similarities at the last checkpoint, by method.
        early_features: Similarities of penultimate features by step.
        step: The last checkpoint's.
    """

    main: Mapping[int, Similarity]
    others: Mapping[str, Similarity]
    parts: Mapping[tuple[int, int], Similarity]
    early: Mapping[int, Similarity]
    early_draws: int
    baselines: Mapping[str, Similarity]
    early_features: Mapping[int, Similarity]
    step: int

    def pooled(self) -> Similarity:
        """The mean of the main kernels."""
        return np.mean(list(self.main.values()), axis=0)

    def each(self) -> list[tuple[str, int | None, Similarity]]:
        """Every method with its sampling seed: kernels one by one, others once."""
        found = [(KERNEL, seed, one) for seed, one in self.main.items()]
        rest = {**self.others, **self.baselines}
        return found + [(name, None, one) for name, one in rest.items()]


def sources(
    kernels: Sequence[xr.Dataset], similarities: Sequence[xr.Dataset], ids: Sequence[str]
) -> Sources:
    """Sort the files of kernels and of other similarities.

    Raises:
        SchemaError: A file is of other images, or a kind of file is missing.
    """
    main, parts, early, others = {}, {}, {}, {}
    early_draws = 0
    for one in [*kernels, *similarities]:
        if one["sample"].values.astype(str).tolist() != list(ids):
            raise SchemaError(
                "a similarity is of other images than the recorded ones; run its stage again"
            )
    for one in kernels:
        name = str(one.attrs["name"])
        kind, _, number = name.partition("_")
        if kind == "main":
            main[int(number)] = matrix_of(one, "kernel")
            for method in one["method"].values.astype(str):
                if method.startswith("kernel_"):
                    parts[int(number), int(method[7:])] = matrix_of(one, method)
            parts[int(number), int(one.attrs["draws"])] = main[int(number)]
        elif kind == "early":
            early[int(number)] = matrix_of(one, "kernel")
            early_draws = int(one.attrs["draws"])
        elif name in (PRIOR, WIDE):
            others[name] = matrix_of(one, "kernel")
    last = max(similarities, key=lambda one: int(one.attrs["step"]))
    if PRIOR not in others or not main:
        raise SchemaError("kernels of main runs and of the prior are needed; pass both")
    features = {int(one.attrs["step"]): matrix_of(one, "penultimate") for one in similarities}
    step = int(last.attrs["step"])
    baselines = {name: matrix_of(last, name) for name in last["method"].values.astype(str)}
    return Sources(main, others, parts, early, early_draws, baselines, features, step)


def matrix_of(one: xr.Dataset, method: str) -> Similarity:
    """A file's similarity by one method, symmetric to the last digit."""
    value = one["value"].sel({"method": method}).values.astype(np.float64)
    return (value + value.T) / 2


def comparison_tables(
    of: Layout, found: Sources, permutations: int, seed: int
) -> dict[str, pd.DataFrame]:
    """Alignment with the tree, AUROC of relations, and depths, of every method and seed."""
    parts: dict[str, list[pd.DataFrame]] = {"alignment": [], "relations": [], "depths": []}
    for method, run_seed, value in found.each():
        tags = {"method": method, "seed": run_seed}
        aligned = alignment_rows(value, of, permutations, seed)
        parts["alignment"].append(tagged(aligned, **tags))
        parts["relations"].append(tagged(relation_rows(value, of), **tags))
        parts["depths"].append(tagged(depth_rows(value, of, permutations, seed), **tags))
    return {f"vision_{name}": pd.concat(rows, ignore_index=True) for name, rows in parts.items()}


def lead_table(of: Layout, found: Sources) -> pd.DataFrame:
    """How far the kernel is ahead of each other method: rows quantity, method, value, se.

    Of the mean over the sampling seeds. The same classes are left out of both, so that the error is
    one of the difference (of the letters that are alike for both nothing is left).
    """
    kernels = [scores(value, of) for value in found.main.values()]
    rows = []
    for method, similarity in {**found.others, **found.baselines}.items():
        for quantity, (value, left) in scores(similarity, of).items():
            own = [one[quantity] for one in kernels]
            lead = np.mean([one[0] for one in own]) - value
            error = jackknife_error(np.mean([one[1] for one in own], axis=0) - left)
            tags = {"quantity": quantity, "method": method}
            rows.append({**tags, "value": float(lead), "se": error})
    return pd.DataFrame(rows)


def draws_table(of: Layout, found: Sources, chains: int) -> pd.DataFrame:
    """AUROC of relations against the draws that the kernel is made of."""
    rows = [
        tagged(relation_rows(value, of, FOLLOWED), seed=seed, draws=draws * chains)
        for (seed, draws), value in sorted(found.parts.items())
    ]
    pooled = sum(draws for (_, draws) in {key for key in found.parts if key[1] == _most(found)})
    together = relation_rows(found.pooled(), of, FOLLOWED)
    rows.append(tagged(together, seed=None, draws=pooled * chains))
    return pd.concat(rows, ignore_index=True)


def _most(found: Sources) -> int:
    return max(draws for _, draws in found.parts)


def early_table(of: Layout, found: Sources) -> pd.DataFrame:
    """AUROC of relations by kernel and by features over training.

    The last checkpoint's kernel is the first sampling seed's, of as many draws as the earlier ones
    where there is one of so many, so that more draws are not taken for more training.
    """
    seed, whole = next(iter(found.main.items()))
    last = found.parts.get((seed, found.early_draws), whole)
    kernels = {**found.early, found.step: last}
    rows = []
    for method, by_step in ((KERNEL, kernels), ("penultimate", found.early_features)):
        for step, value in sorted(by_step.items()):
            relations = relation_rows(value, of, FOLLOWED)
            rows.append(tagged(relations, method=method, step=step))
    return pd.concat(rows, ignore_index=True)


def image_table(recorded: xr.Dataset, items: xr.Dataset, of: Layout) -> pd.DataFrame:
    """The recorded images: class, group (the tree's first level), picture."""
    label = dict(
        zip(items["id"].values.astype(str), items["label"].values.astype(str), strict=True)
    )
    groups = ancestor_at_depth(of.tree, min(1, int(of.tree.depth.max())))
    return pd.DataFrame(
        {
            "id": of.ids,
            "class": [of.classes[one] for one in of.labels],
            "label": [label[of.classes[one]] for one in of.labels],
            "group": [label[groups[one]].lower() for one in of.labels],
            "variant": of.variants,
            "pixels": [packed(one) for one in images_file.thumbnails(recorded)],
        }
    )


def packed(image: UInt8[np.ndarray, "row column"]) -> str:
    """An image as text for a cell of a table: rows, a colon, and zlib's bytes in base 64."""
    return f"{len(image)}:" + base64.b64encode(zlib.compress(image.tobytes(), 9)).decode()


def matrix_table(of: Layout, found: Sources) -> pd.DataFrame:
    """Mean similarity of classes, in the order of the tree."""
    order = np.lexsort([of.tree.way[:, level] for level in range(of.tree.way.shape[1])][::-1])
    groups = ancestor_at_depth(of.tree, min(1, int(of.tree.depth.max())))
    rows = []
    for method, value in (
        (KERNEL, found.pooled()),
        ("penultimate", found.baselines["penultimate"]),
    ):
        means = class_means(value, of.labels)[np.ix_(order, order)]
        first, second = np.indices(means.shape)
        rows.append(
            pd.DataFrame(
                {
                    "method": method,
                    "row": first.ravel(),
                    "column": second.ravel(),
                    "group": np.array(groups)[order][first.ravel()],
                    "value": means.ravel(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def neighbour_table(of: Layout, found: Sources, rng: np.random.Generator) -> pd.DataFrame:
    """Nearest images of a few random queries, none of the query's own face, by each method."""
    names = {KERNEL: found.pooled(), **found.baselines}
    chosen = rng.choice(len(of.labels), min(QUERIES, len(of.labels)), replace=False)
    rows = []
    for method in (KERNEL, "gradient", "penultimate"):
        for query in chosen:
            near = names[method][query].copy()
            near[of.variants == of.variants[query]] = -np.inf
            nearest = [one for one in np.argsort(-near)[:NEIGHBOURS] if np.isfinite(near[one])]
            for rank, other in enumerate(nearest, start=1):
                rows.append(
                    {
                        "method": method,
                        "query": of.ids[query],
                        "rank": rank,
                        "neighbour": of.ids[other],
                        "related": _relation(of, int(query), int(other)),
                    }
                )
    return pd.DataFrame(rows)


def _relation(of: Layout, one: int, other: int) -> str:
    for name, pairs in of.relations.items():
        if pairs[one, other]:
            return name
    return "unrelated" if of.unrelated[one, other] else "related"


def zooms(points: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return which of three densest corners each point is in, none (-1) for most.

    One after another: the point whose ZOOM_SIZE-th neighbour is nearest, of a group that has none
    yet where there is one.
    """
    found = np.full(len(points), -1)
    distance = np.linalg.norm(points[:, None] - points[None, :], axis=-1)
    size = min(ZOOM_SIZE, len(points) - 1)
    radius = np.sort(distance, axis=1)[:, size]
    for place in range(ZOOMS):
        free = found < 0
        taken = set(groups[~free])
        fresh = free & ~np.isin(groups, list(taken)) if taken else free
        candidates = np.flatnonzero(fresh if fresh.any() else free)
        if not len(candidates):
            break
        centre = candidates[np.argmin(radius[candidates])]
        near = np.argsort(distance[centre])[:size]
        found[near[found[near] < 0]] = place
    return found
