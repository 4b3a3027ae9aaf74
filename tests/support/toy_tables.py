"""Small tables with the shape of the toy experiment's, made from formulas, never from results."""

from collections.abc import Iterator
from itertools import chain, product

import numpy as np
import pandas as pd

TREES = ("balanced", "unbalanced")
SEEDS = (0, 1)
STEPS = np.arange(0, 500, 50)
#: The law is known at more checkpoints than are diagnosed.
CURVATURE_STEPS = np.arange(0, 500, 10)
RELATIONS = ("sibling", "cousin", "distant")
ITEMS = ("a", "b", "c")
INFLUENCES = (
    "bif",
    "bif_law",
    "bif_strong",
    "bif_prior",
    "trajectory",
    "trajectory_published",
    "leave_one_out",
)
FAMILIES = {"quadratic": [300.0], "exact_g": [100.0, 316.0, 1000.0], "main": [1000.0]}


def wave(*names: object) -> np.ndarray:
    """A curve over STEPS that turns from helpful to harmful, different for every name."""
    shift = sum(ord(letter) for name in names for letter in str(name)) % 7
    return -np.sin((STEPS + 10 * shift) / 60) * np.exp(-STEPS / 300) * 1e-3


def toy_tables() -> dict[str, pd.DataFrame]:
    """Every table of the toy experiment by name."""
    return {
        "toy_modes": _modes(),
        "toy_influence": _influence(),
        "toy_pairs": _pairs(),
        "toy_transitions": _frame(
            "tree seed mode step",
            ((tree, s, k, 100 * k + 7 * s) for tree, s, k in product(TREES, SEEDS, (1, 2))),
        ),
        "toy_flips": _frame(
            "tree seed influence relation step",
            (
                (*keys, np.nan if keys[-1] == "distant" else 150 + 20 * keys[1])
                for keys in product(TREES, SEEDS, INFLUENCES, RELATIONS)
            ),
        ),
        "toy_mds": _mds(),
        "toy_windows": _windows(),
        "toy_sweep": _sweep(),
        "toy_agreement": _agreement(),
        "toy_z": _quantiles(),
        "toy_mixture": _mixture(),
        "toy_diagnostics": _diagnostics(),
    }


def _frame(columns: str, rows: Iterator[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def _modes() -> pd.DataFrame:
    rows = (
        (tree, init, s, k, 4.0 / k, t, 4 / k * t / 500, 4 / k * t / 490)
        for tree, init, s, k, t in product(
            TREES, ("aligned", "balanced", "gaussian"), SEEDS, (1, 2), STEPS
        )
    )
    return _frame("tree init seed mode singular_value step strength predicted", rows)


def _influence() -> pd.DataFrame:
    parts = []
    for tree, seed, influence, relation in product(TREES, SEEDS, INFLUENCES, RELATIONS):
        keys = {"tree": tree, "seed": seed, "influence": influence, "relation": relation}
        error = 1e-5 if influence == "bif" else np.nan
        curve = wave(tree, seed, influence, relation)
        parts.append(pd.DataFrame(keys | {"step": STEPS, "value": curve, "se": error}))
    return pd.concat(parts, ignore_index=True)


def _pairs() -> pd.DataFrame:
    parts = []
    for tree, influence, one, other in product(
        TREES, ("bif", "trajectory", "leave_one_out"), ITEMS, ITEMS
    ):
        relation = "self" if one == other else RELATIONS[(ord(one) + ord(other)) % 3]
        keys = {"tree": tree, "influence": influence, "sample": one, "query": other}
        keys |= {"relation": relation, "step": STEPS}
        size = 50.0 if one == other else 1.0
        keys |= {"value": size * wave(tree, influence, one, other), "se": 1e-5}
        parts.append(pd.DataFrame(keys))
    return pd.concat(parts, ignore_index=True)


def _mds() -> pd.DataFrame:
    rows = (
        (tree, s, item, "left" if k == 0 else "right", t, (k - 1) * t / 500, k * t / 900)
        for tree, s, (k, item), t in product(TREES, SEEDS, enumerate(ITEMS), STEPS)
    )
    return _frame("tree seed item branch step x y", rows)


def _windows() -> pd.DataFrame:
    rows = (
        (tree, s, relation, start, start + 100, np.cos(start / 90 + s) * 0.1, 0.2, 0.001)
        for tree, s, relation, start in product(TREES, SEEDS, RELATIONS, range(0, 400, 100))
    )
    return _frame("tree seed relation window_start window_end at_end peak at_final", rows)


def _sweep() -> pd.DataFrame:
    rows = (
        (b, g, share / g, share, target, 1 - b / g / 4, 0.01, 0.5 if b > g else 1.0)
        for b, g, share, target in product(
            (100.0, 1000.0), (100.0, 316.0), (0.1,), ("law", "trajectory", "leave_one_out")
        )
    )
    return _frame("n_beta localization step_size relaxation target r se local_fraction", rows)


def _rows() -> Iterator[tuple[str, str, float, float]]:
    for tree, (family, gammas) in product(TREES, FAMILIES.items()):
        for gamma in gammas:
            yield tree, family if len(gammas) == 1 else f"{family}{gamma:g}", 100.0, gamma


def _agreement() -> pd.DataFrame:
    rows = (
        (*row, relation, 1 - 0.1 / row[-1], np.nan) for row, relation in product(_rows(), RELATIONS)
    )
    return _frame("tree row n_beta localization relation r se", rows)


def _quantiles() -> pd.DataFrame:
    rows = (
        (*row, q, 3 * q - 1.5, (3 * q - 1.5) * (1 + 100 / row[-1]))
        for row, q in product(_rows(), np.linspace(0.01, 0.99, 9))
    )
    return _frame("tree row n_beta localization quantile expected observed", rows)


def _mixture() -> pd.DataFrame:
    rows = []
    for c, (pair, sign) in product(np.linspace(-1, 1, 9), (("same", -1.0), ("opposite", 1.0))):
        mass = 1 / (1 + np.exp(-5 * c))
        within, between = -0.02, sign * mass * (1 - mass)
        for kind, value in (("exact", within + between), ("within", within), ("between", between)):
            rows.append((c, pair, kind, value, np.nan, mass))
        rows.append((c, pair, "discrete", within + between + 0.002, np.nan, mass))
        rows.append((c, pair, "sampled", within + between + 0.001, 0.002, mass))
    return _frame("control pair kind value se mass", iter(rows))


def _diagnostics() -> pd.DataFrame:
    sizes = {
        "rhat_loss_max": 1.002,
        "rhat_product_max": 1.01,
        "ess_product_min": 500.0,
        "null_max_abs_z": 3.0,
        "drift_max_z": 2.0,
        "llc": 7.0,
        "llc_se": 0.2,
        "llc_law": 7.1,
    }
    rows = (
        (tree, s, t, quantity, size * (1 + t / 1e4))
        for tree, s, t, (quantity, size) in product(TREES, SEEDS, STEPS, sizes.items())
    )
    curvature = (
        (tree, s, t, "negative_curvature", 1.4 * np.exp(-(((t - 200 - 20 * s) / 90) ** 2)))
        for tree, s, t in product(TREES, SEEDS, CURVATURE_STEPS)
    )
    return _frame("tree seed step quantity value", chain(rows, curvature))
