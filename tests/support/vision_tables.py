"""Small tables with the shape of the loss kernel of images, made from formulas, not results."""

from itertools import product

import numpy as np
import pandas as pd

from stagewise.evaluation.vision_tables import packed

RUN = "glyphs"
METHODS = ("kernel", "wide", "prior", "penultimate", "gradient", "pixel", "random_init")
RELATIONS = ("same class", "other diacritic", "other case", "same script", "looks alike")
STEPS, SEEDS = (75, 600, 1800), (1, 2)
GROUPS = ("cyrillic", "greek", "latin")
COUNT = 24


def _seeds(method: str) -> tuple[int | None, ...]:
    return SEEDS if method == "kernel" else (None,)


def _table(rows: list[tuple], columns: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split()).assign(run=RUN)


def alignment() -> pd.DataFrame:
    rows = [
        (method, seed, "spearman", tree, scope, 0.1 + place / 20, 0.03, 0.02, 0.01, 0.05)
        for place, method in enumerate(METHODS)
        for seed, tree, scope in product(
            _seeds(method), ("wu_palmer", "path", "lin"), ("all", "other_classes")
        )
    ]
    return _table(rows, "method seed measure tree scope value se null null_sd p")


def relations() -> pd.DataFrame:
    rows = [
        (method, seed, relation, 0.5 + 0.4 / (1 + place + index), 0.01, 50)
        for place, method in enumerate(METHODS)
        for seed in _seeds(method)
        for index, relation in enumerate(RELATIONS)
    ]
    return _table(rows, "method seed relation value se positives")


def depths() -> pd.DataFrame:
    rows = [
        (method, seed, depth, 3**depth, measure, 1 / depth, 0.03, 0.2, 0.01, 0.01)
        for method in METHODS
        for seed, depth, measure in product(
            _seeds(method), (1, 2, 3), ("nmi", "purity", "neighbour")
        )
    ]
    return _table(rows, "method seed depth labels measure value se null null_sd p")


def draws() -> pd.DataFrame:
    each = product((*SEEDS, None), (32, 64), RELATIONS[:3])
    rows = [
        (seed, count * (2 if seed is None else 1), relation, 0.5 + count / 200, 0.01)
        for seed, count, relation in each
        if seed is not None or count == 64
    ]
    return _table(rows, "seed draws relation value se")


def early() -> pd.DataFrame:
    rows = [
        (method, step, relation, 0.5 + step / 4000, 0.02)
        for method, step, relation in product(("kernel", "penultimate"), STEPS, RELATIONS[:3])
    ]
    return _table(rows, "method step relation value se")


def images() -> pd.DataFrame:
    rows = []
    for place in range(COUNT):
        picture = np.full((8, 8), 10 * place, np.uint8)
        group = GROUPS[place % 3]
        rows.append(
            (f"held/{place}", f"c{place // 2}", "A", group, f"f{place % 2}", packed(picture))
        )
    return _table(rows, "id class label group variant pixels")


def plane() -> pd.DataFrame:
    rows = []
    for step, place in product(STEPS, range(COUNT)):
        zoom = place % 3 if step == STEPS[-1] and place < 12 else -1
        rows.append((step, f"held/{place}", np.cos(place), np.sin(place + step), zoom))
    return _table(rows, "step id x y zoom")


def matrix() -> pd.DataFrame:
    rows = [
        (method, row, column, f"letters/{GROUPS[row // 4]}", np.cos(row - column) / 5)
        for method, row, column in product(("kernel", "penultimate"), range(12), range(12))
    ]
    return _table(rows, "method row column group value")


def neighbours() -> pd.DataFrame:
    related = ("same class", "unrelated")
    rows = [
        (method, f"held/{query}", rank, f"held/{query + rank}", related[rank % 2])
        for method, query, rank in product(("kernel", "penultimate"), range(3), range(1, 4))
    ]
    return _table(rows, "method query rank neighbour related")


def detectors() -> pd.DataFrame:
    names = ("loss", "el2n", "kernel_variance", "ekfac")
    rows = [(name, 0.9 - place / 10, 0.02, 40) for place, name in enumerate(names)]
    return _table(rows, "detector value se n")


def influence() -> pd.DataFrame:
    picture = packed(np.full((8, 8), 200, np.uint8))
    rows = [
        (method, query, side, rank, f"train/{rank}", 0.1, rank == 1, rank == 2, picture, picture)
        for method, query, side, rank in product(
            ("bif", "ekfac"), ("held/0", "held/1"), ("helps", "harms"), (1, 2)
        )
    ]
    columns = "method query side rank sample value conflict flipped pixels query_pixels"
    return _table(rows, columns)


STUDY_COLUMNS = "kind job n_beta localization draws quantity value se"
N_BETA, LOCALIZATION, LONG_DRAWS = (1e3, 1e4), (1e4, 1e5, 1e6), (32, 64, 128)


def sensitivity() -> pd.DataFrame:
    quantities = (*(f"auroc {name}" for name in RELATIONS[:3]), "agreement", "mean_excess")
    rows = [
        ("grid", f"grid_{i}_{j}", *at, 64, name, 0.5 + (i + j) / 10 + place / 100, se)
        for (i, j) in product(range(2), range(3))
        for at in ((N_BETA[i], LOCALIZATION[j]),)
        for place, name in enumerate(quantities)
        for se in (0.02 if name.startswith("auroc") else np.nan,)
    ]
    return _table(rows, STUDY_COLUMNS).assign(step_size=1e-4)


def many_draws() -> pd.DataFrame:
    rows = [
        ("long", "long", np.nan, np.nan, draws, f"auroc {name}", 0.5 + draws / 400, 0.01)
        for draws, name in product(LONG_DRAWS, RELATIONS[:3])
    ]
    return _table(rows, STUDY_COLUMNS)


def vision_tables() -> dict[str, pd.DataFrame]:
    """All tables by name."""
    return {
        "vision_alignment": alignment(),
        "vision_relations": relations(),
        "vision_depths": depths(),
        "vision_draws": draws(),
        "vision_early": early(),
        "vision_images": images(),
        "vision_map": plane(),
        "vision_matrix": matrix(),
        "vision_neighbours": neighbours(),
        "vision_sensitivity": sensitivity(),
        "vision_long": many_draws(),
        "vision_detectors": detectors(),
        "vision_influence": influence(),
    }
