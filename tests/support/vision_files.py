"""Eight images of four letters in two faces, made from formulas, never from results.

A and a are one letter in two cases, Á is A with a diacritic, Б is of another script and looks like
nothing; in `twins` Б looks like A.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from stagewise.storage import images, items, similarity

CLASSES = ["A", "Á", "a", "Б"]
FACES = ["one", "two"]
#: Relation of two classes, by `stagewise.data.unicode_tree`'s names.
RELATION = [
    ["same", "other diacritic", "other case", "other script"],
    ["other diacritic", "same", "same script", "other script"],
    ["other case", "same script", "same", "other script"],
    ["other script", "other script", "other script", "same"],
]
LABELS = np.repeat(np.arange(4), 2)
IDS = [f"held/{CLASSES[label]}/{FACES[place % 2]}" for place, label in enumerate(LABELS)]


def recorded(twins: bool = False) -> xr.Dataset:
    """The recorded images, all of them held out."""
    count = len(IDS)
    pixels = (np.arange(count * 16, dtype=np.uint8) * 7).reshape(count, 4, 4)
    twin = ["Б", "", "", "A"] if twins else [""] * 4
    return xr.Dataset(
        {
            "label": ("sample", LABELS),
            "split": ("sample", np.array([images.HELD] * count, dtype=object)),
            "variant": ("sample", np.array(FACES * 4, dtype=object)),
            "recorded": ("sample", np.ones(count, bool)),
            "pixels": (("sample", "row", "column"), pixels),
            "twin": ("class", np.array(twin, dtype=object)),
            "relation": (("class", "other"), np.array(RELATION, dtype=object)),
        },
        coords={
            "sample": np.array(IDS, dtype=object),
            "class": np.array(CLASSES, dtype=object),
        },
        attrs={
            "schema": images.IMAGES.name,
            "schema_version": images.IMAGES.version,
            "kind": "glyphs",
            "size": 4,
        },
    )


def tree() -> xr.Dataset:
    """Script, case, base letter, letter."""
    parents = {
        "letters": "",
        "latin": "letters",
        "cyrillic": "letters",
        "upper": "latin",
        "lower": "latin",
        "capital": "cyrillic",
        "base A": "upper",
        "base a": "lower",
        "base Б": "capital",
        "A": "base A",
        "Á": "base A",
        "a": "base a",
        "Б": "base Б",
    }
    ids = list(parents)
    return items.from_arrays(
        id=ids, parent=list(parents.values()), label=[one.title() for one in ids]
    )


def block(within: float = 0.9, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A similarity that knows the letters: ``within`` between images of one, 0 between others."""
    drawn = noise * np.random.default_rng(seed).normal(size=(len(IDS),) * 2)
    made = np.where(LABELS[:, None] == LABELS, within, 0.0) + (drawn + drawn.T) / 2
    np.fill_diagonal(made, 1.0)
    return made


def kernel(name: str, values: Mapping[str, np.ndarray], step: int = 9) -> xr.Dataset:
    """A kernel's file."""
    attrs = {"name": name, "chains": 8, "draws": 8, "n_zero_variance": 0, "chains_dropped": 0}
    attrs |= {"mean_excess": 0.1, "null_entries": 10, "drift_entries": 8, "null_max_abs_z": 2.0}
    attrs |= {"drift_max_z": 1.0, "rhat_loss_max": 1.1, "ess_product_min": 50.0}
    attrs |= {"n_beta": 10.0, "localization": 100.0, "step_size": 1e-3}
    made = similarity.from_arrays(values, IDS, step, attrs)
    made["variance"] = ("sample", np.ones(len(IDS)))
    made["se"] = (("sample", "partner"), np.full((len(IDS),) * 2, 0.05, np.float32))
    return made


def kernels() -> list[xr.Dataset]:
    """Two seeds, the prior, an earlier checkpoint, and a low-loss neighbourhood."""
    made = [
        kernel(
            f"main_{seed}",
            {"kernel": block(noise=0.1, seed=seed), "kernel_4": block(0.5, 0.3, seed)},
        )
        for seed in (1, 2)
    ]
    return [
        *made,
        kernel("prior", {"kernel": block(0.2, 0.2, 3)}),
        kernel("early_5", {"kernel": block(0.1, 0.2, 4)}, step=5),
        kernel("wide", {"kernel": block(noise=0.2, seed=6)}),
    ]


def similarities() -> list[xr.Dataset]:
    """Features at two checkpoints; at the last one the other baselines."""
    names = ("penultimate", "gradient", "pixel", "random_init")
    last = {name: block(0.8, 0.1, 10 + place) for place, name in enumerate(names)}
    early = {"penultimate": block(0.3, 0.1, 20)}
    return [similarity.from_arrays(early, IDS, 5), similarity.from_arrays(last, IDS, 9)]
