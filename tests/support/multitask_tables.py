"""Small tables with the shape of the two-task experiment's, made from formulas, not results."""

from itertools import product

import numpy as np
import pandas as pd

SHARED, SEEDS, EACH = (0.0, 0.5, 1.0), (1, 2, 3), 4
QUANTITIES = ("auroc", "auroc_unrelated", "within", "within_related", "cross", "test_accuracy")
BATCHES = ("full", "stratified", "mixed")


def separation() -> pd.DataFrame:
    rows = [
        (shared, seed, name, (1 + place) / 10 + 0.3 * (1 - shared) + seed / 100)
        for shared, seed, (place, name) in product(SHARED, SEEDS, enumerate(QUANTITIES))
    ]
    return pd.DataFrame(rows, columns="shared seed quantity value".split())


def kernel() -> pd.DataFrame:
    rows = []
    for shared, row, column in product(SHARED, range(2 * EACH), range(2 * EACH)):
        same = (row < EACH) == (column < EACH)
        value = 1.0 if row == column else 0.4 if same else 0.2 * shared
        rows.append((shared, row, column, value))
    return pd.DataFrame(rows, columns="shared row column value".split())


def plane() -> pd.DataFrame:
    rows = []
    for shared, place in product(SHARED, range(2 * EACH)):
        task, angle = int(place >= EACH), 2 * np.pi * place / EACH
        x, y = (1 - shared) * (1 - 2 * task) + np.cos(angle) / 4, np.sin(angle) / 4
        rows.append((shared, f"add/{place}+0", task, place % EACH, x, y))
    return pd.DataFrame(rows, columns="shared sample task answer x y".split())


def coupling() -> pd.DataFrame:
    rows = [
        (kind, seed, -0.05 * (kind == "mixed") + (seed - 2) / 1000)
        for kind, seed in product(BATCHES, SEEDS)
    ]
    return pd.DataFrame(rows, columns="batches seed value".split())


def multitask_tables() -> dict[str, pd.DataFrame]:
    """All tables by name."""
    return {
        "multitask_separation": separation(),
        "multitask_kernel": kernel(),
        "multitask_map": plane(),
        "multitask_coupling": coupling(),
    }
