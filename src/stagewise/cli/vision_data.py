"""Stage: the images of one run with their splits, and the taxonomy of their classes."""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.vision import THUMBNAIL, DataStage, FolderSource, GlyphSource
from stagewise.data.glyphs import Alphabet, Glyphs, choose_letters, faces, glyph_set
from stagewise.data.image_folder import ImageIndex, index_folder, load_images
from stagewise.data.unicode_tree import attributes, code_point, relations, taxonomy
from stagewise.data.wordnet import WordNet
from stagewise.data.wordnet import taxonomy as taxonomy_of
from stagewise.errors import ConfigError
from stagewise.provenance import provenance
from stagewise.seeds import generator
from stagewise.storage import images as images_file
from stagewise.storage import items as items_file
from stagewise.storage.images import HELD, IMAGES, TRAIN, TUNING

#: Faces of the training in which letters are rendered anew, for settings to be chosen on.
TUNING_FACES = 2


def vision_data(settings: DataStage, images: Path, items: Path) -> None:
    """Renders glyphs, or lists the images of a folder."""
    if isinstance(settings.source, GlyphSource):
        found, tree = _glyphs(settings, settings.source)
    else:
        found, tree = _folder(settings, settings.source)
    record = provenance("vision_data", settings.model_dump(mode="json"), {})
    signed = {"provenance": json.dumps(record, sort_keys=True)}
    labels = {"schema": IMAGES.name, "schema_version": IMAGES.version}
    found = found.assign_attrs(kind=settings.source.kind, size=settings.source.size)
    items_file.write(tree.assign_attrs(signed), items)
    images_file.write(found.assign_attrs(**labels, **signed), images)
    print(f"{found.sizes['class']} classes, {found.sizes['sample']} images", flush=True)


def _glyphs(settings: DataStage, source: GlyphSource) -> tuple[xr.Dataset, xr.Dataset]:
    alphabet = choose_letters(source.letters, settings.seed, source.homoglyph_pairs)
    names, rng = faces(), generator(settings.seed, "vision", "faces")
    away = set(rng.choice(names, source.held_faces, replace=False).tolist())
    known = [name for name in names if name not in away]
    held = [name for name in names if name in away]
    fresh = known[:: max(1, len(known) // TUNING_FACES)][:TUNING_FACES]
    parts = {
        TRAIN: (known, source.renderings),
        TUNING: (fresh, 1),
        HELD: (held, source.held_renderings),
    }
    sets = {
        name: glyph_set(alphabet.letters, chosen, count, settings.seed, name, source.size)
        for name, (chosen, count) in parts.items()
    }
    chosen = _recorded_letters(alphabet, settings.recorded // source.held_faces, settings.seed)
    found = xr.concat([_part(name, one, chosen) for name, one in sets.items()], "sample")
    ids = [code_point(char) for char in alphabet.letters]
    twins = dict(alphabet.pairs) | {other: one for one, other in alphabet.pairs}
    twin = [code_point(twins[char]) if char in twins else "" for char in alphabet.letters]
    found = found.assign(
        twin=("class", np.array(twin, dtype=object)),
        relation=(("class", "other"), relations(alphabet.letters).astype(object)),
    )
    return found.assign_coords({"class": np.array(ids, dtype=object)}), items_file.from_arrays(
        **taxonomy(alphabet.letters)._asdict()
    )


def _part(split: str, glyphs: Glyphs, chosen: frozenset[str]) -> xr.Dataset:
    """Return one split; the first rendering of chosen letters in each held-out face is recorded."""
    first = np.array([one.endswith("/0") for one in glyphs.ids])
    wanted = np.array([char in chosen for char in glyphs.letters])
    ids = [f"{split}/{one}" for one in glyphs.ids]
    return xr.Dataset(
        {
            "pixels": (("sample", "row", "column"), glyphs.images[:, 0]),
            "label": ("sample", glyphs.labels),
            "split": ("sample", np.array([split] * len(ids), dtype=object)),
            "variant": ("sample", np.array(glyphs.faces, dtype=object)),
            "recorded": ("sample", first & wanted & (split == HELD)),
        },
        coords={"sample": np.array(ids, dtype=object)},
    )


def _recorded_letters(alphabet: Alphabet, count: int, seed: int) -> frozenset[str]:
    """Return letters by family, in random order: first those that look alike."""
    families: dict[tuple[str, str], list[str]] = {}
    for char in alphabet.letters:
        known = attributes(char)
        families.setdefault((known.script, known.folded_base), []).append(char)
    order = generator(seed, "vision", "recorded").permutation(len(families))
    queue = [char for pair in alphabet.pairs for char in pair]
    queue += [char for place in order for char in list(families.values())[place]]
    return frozenset(list(dict.fromkeys(queue))[:count])


def _folder(settings: DataStage, source: FolderSource) -> tuple[xr.Dataset, xr.Dataset]:
    trees = {
        TRAIN: (source.train, source.train_per_class),
        HELD: (source.held, source.held_per_class),
    }
    found = {
        split: index_folder(
            Path(folder), per_class=count, seed=settings.seed, expected=source.classes
        )
        for split, (folder, count) in trees.items()
    }
    classes = found[TRAIN].classes
    if found[HELD].classes != classes:
        odd = sorted(set(classes) ^ set(found[HELD].classes))
        raise ConfigError(
            f"{source.train} and {source.held} differ in {len(odd)} classes "
            f"({', '.join(odd[:3])}); both trees must have the same folders"
        )
    tree = items_file.from_arrays(**taxonomy_of(WordNet(Path(source.wordnet)), classes)._asdict())
    rng = generator(settings.seed, "vision", "recorded")
    count = len(found[HELD].ids)
    if settings.recorded > count:
        raise ConfigError(
            f"recorded is {settings.recorded}; allowed are 8 to {count}, the images taken of "
            f"{source.held}: lower it, or raise held_per_class"
        )
    kept = np.zeros(count, bool)
    kept[rng.choice(count, settings.recorded, replace=False)] = True
    parts = [_files(TRAIN, found[TRAIN], np.zeros(len(found[TRAIN].ids), bool))]
    parts.append(_files(HELD, found[HELD], kept))
    together = xr.concat(parts, "sample")
    return together.assign_coords({"class": np.array(classes, dtype=object)}), tree


def _files(split: str, index: ImageIndex, recorded: np.ndarray) -> xr.Dataset:
    small = np.zeros((len(index.ids), THUMBNAIL, THUMBNAIL), np.uint8)
    for place in np.flatnonzero(recorded):
        small[place] = _thumbnail(index.paths[place])
    return xr.Dataset(
        {
            "path": ("sample", np.array([str(path) for path in index.paths], dtype=object)),
            "label": ("sample", index.labels),
            "split": ("sample", np.array([split] * len(index.ids), dtype=object)),
            "variant": ("sample", np.array(index.ids, dtype=object)),
            "recorded": ("sample", recorded),
            "thumbnail": (("sample", "row", "column"), small),
        },
        coords={"sample": np.array([f"{split}/{one}" for one in index.ids], dtype=object)},
    )


def _thumbnail(path: Path) -> np.ndarray:
    """Return a small grey picture, its darkest pixel 255."""
    grey = load_images([path], THUMBNAIL)[0].mean(0).numpy()
    span = float(np.ptp(grey)) or 1.0
    return np.rint(255 * (grey.max() - grey) / span).astype(np.uint8)


main = stage(vision_data)

if __name__ == "__main__":
    sys.exit(main())
