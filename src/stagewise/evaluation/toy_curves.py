"""The three influences of the toy on one time axis: tidy tables and numbers.

Every influence is in the BIF sense and named as in the figures: ``bif`` (sampled local posterior),
``bif_law`` (its second-order law), ``bif_laplace`` (that law's leading term, the damped inverse
Hessian), ``bif_strong`` (strong-localization limit), ``bif_prior`` (law at nβ = 0), ``trajectory``
(derivative of the training run), ``trajectory_published`` (the Σ_yx-only closed form) and
``leave_one_out``.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.evaluation.curves import (
    RELATIONS,
    Summary,
    correlation,
    half_step,
    peaks,
    relation_mean,
    sign_flip,
    summarize,
)

#: The paper's letters for the influences whose sign flips are reported.
LETTERS = {"a": "bif", "b": "trajectory", "c": "leave_one_out"}
_LAWS = {
    "bif_law": "second_order",
    "bif_laplace": "laplace",
    "bif_strong": "strong",
    "bif_prior": "prior",
}
#: Level of the tree whose distinction is the last that items of a relation share.
_SHARED_LEVEL = {"distant": 0, "cousin": 1, "sibling": 2}


class TreeResults(NamedTuple):
    """Everything computed for one tree at the main sampling row."""

    tree: str
    relation: np.ndarray
    training: xr.Dataset
    trajectory: xr.Dataset
    retrain: xr.Dataset
    law: xr.Dataset
    bif: Mapping[int, xr.Dataset]


def influence_table(results: TreeResults) -> pd.DataFrame:
    """Relation-mean influence: one row for each (seed, influence, relation, step)."""
    frames = []
    for seed, name, step, values, se in _curves(results):
        for relation in RELATIONS:
            frames.append(
                pd.DataFrame(
                    {
                        "tree": results.tree,
                        "seed": seed,
                        "influence": name,
                        "relation": relation,
                        "step": step,
                        "value": relation_mean(values, results.relation, relation),
                        "se": np.nan if se is None else se.sel(relation=relation).values,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def pair_table(results: TreeResults) -> pd.DataFrame:
    """Influence of every ordered pair of items: mean and standard error over seeds."""
    by_name: dict[str, list[np.ndarray]] = {}
    for _, name, _, values, _ in _curves(results):
        if name in LETTERS.values():
            by_name.setdefault(name, []).append(values)
    items, step = results.training["item"].values, results.training["step"].values
    frames = []
    for name, stack in by_name.items():
        mean = np.mean(stack, axis=0)
        spread = np.std(stack, axis=0, ddof=1) if len(stack) > 1 else np.full_like(mean, np.nan)
        for i, j in np.ndindex(len(items), len(items)):
            frames.append(
                pd.DataFrame(
                    {
                        "tree": results.tree,
                        "influence": name,
                        "sample": items[i],
                        "query": items[j],
                        "relation": results.relation[i, j],
                        "step": step,
                        "value": mean[:, i, j],
                        "se": spread[:, i, j] / np.sqrt(len(stack)),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def transition_table(results: TreeResults) -> pd.DataFrame:
    """Step at which each mode u_kᵀ W v_k first reaches half its singular value, every seed."""
    training = results.training
    left, singular, right = np.linalg.svd(training["Y"].values, full_matrices=False)
    product = training["W2"].values @ training["W1"].values
    strength = np.einsum("fk,scfi,ki->sck", left, product, right)
    step = training["step"].values
    rows = [
        {
            "tree": results.tree,
            "seed": seed,
            "mode": k,
            "step": half_step(step, strength[s, :, k], limit / 2),
        }
        for s, seed in enumerate(training["seed"].values)
        for k, limit in enumerate(singular)
        if limit > 1e-9 * singular[0]
    ]
    return pd.DataFrame(rows)


def mode_levels(target: np.ndarray) -> list[list[int]]:
    """Modes with equal singular values, largest first: the levels of a balanced binary tree.

    Returns:
        Nothing on any other tree, where no mode belongs to one level.
    """
    singular = np.linalg.svd(target, compute_uv=False)
    singular = singular[singular > 1e-9 * singular[0]]
    steps = np.flatnonzero(np.diff(singular) < -1e-6 * singular[0]) + 1
    starts = [0, *steps.tolist(), singular.size]
    levels = [list(range(a, b)) for a, b in zip(starts[:-1], starts[1:], strict=True)]
    symmetric = all(len(modes) == 2**k for k, modes in enumerate(levels[1:]))
    return levels if symmetric else []


def flip_table(influence: pd.DataFrame) -> pd.DataFrame:
    """Sign flips of every relation-mean curve in `influence_table`."""
    keys = ["tree", "seed", "influence", "relation"]
    rows = [
        dict(zip(keys, key, strict=True))
        | {"step": sign_flip(curve["step"].to_numpy(), curve["value"].to_numpy())}
        for key, curve in influence.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows)


def curve_numbers(influence: pd.DataFrame, flips: pd.DataFrame, tree: str) -> dict[str, Summary]:
    """Numbers of the paper from one tree's tables, means and errors over training seeds.

    Keys: ``sign_flip_step.{a,b,c}.{relation}``, ``sign_flip_step.law.{relation}``,
    ``sign_flip_step.a_minus_law.{relation}`` (in checkpoints),
    ``bif_vs_{law,laplace,prior,strong}.r``, ``peak_step.{a,b,c}.{helpful,harmful}.{relation}``
    and, for how the influences differ, ``a_vs_{b,c}.r``.
    """
    numbers: dict[str, Summary] = {}
    spacing = np.diff(np.unique(influence["step"])).min()
    for relation in RELATIONS:
        flip = _wide(flips[flips["relation"] == relation], "step", "seed")
        curve = influence[influence["relation"] == relation]
        for letter, name in LETTERS.items():
            numbers[f"sign_flip_step.{letter}.{relation}"] = summarize(flip[name].to_numpy())
            found = [peaks(steps, values[name]) for steps, values in _by_seed(curve, tree, name)]
            for kind in ("helpful", "harmful"):
                numbers[f"peak_step.{letter}.{kind}.{relation}"] = summarize(
                    [one[kind] for one in found]
                )
        numbers[f"sign_flip_step.law.{relation}"] = summarize(flip["bif_law"].to_numpy())
        numbers[f"sign_flip_step.a_minus_law.{relation}"] = summarize(
            ((flip["bif"] - flip["bif_law"]) / spacing).to_numpy()
        )
        for other in _PAIR:
            numbers[f"{_PAIR[other]}.r.{relation}"] = summarize(
                [
                    correlation(values["bif"], values[other])
                    for _, values in _by_seed(curve, tree, "bif", other)
                ]
            )
    return numbers


def transition_numbers(
    influence: pd.DataFrame, transitions: pd.DataFrame, levels: list[list[int]]
) -> dict[str, Summary]:
    """Harmful peak of (a) against the steps at which distinctions reach half their strength.

    The last distinction that two items share is that of their relation's level; the influence is
    said to peak at this transition if no other level's is nearer. Means over seeds.

    Args:
        influence: `influence_table` of one tree.
        transitions: `transition_table` of it.
        levels: Modes of every level of the tree, coarse ones first.

    Returns:
        ``transition_step.level{l}``, ``peak_minus_transition.{relation}`` and
        ``nearest_transition.fraction``, over seeds and relations; nothing for a tree with too few
        levels.
    """
    if len(levels) <= max(_SHARED_LEVEL.values()):
        return {}
    half = np.array(
        [
            [rows.set_index("mode")["step"].loc[modes].mean() for modes in levels]
            for _, rows in transitions.groupby("seed", sort=True)
        ]
    )
    numbers = {
        f"transition_step.level{level}": summarize(half[:, level]) for level in range(len(levels))
    }
    nearest: list[float] = []
    for relation, level in _SHARED_LEVEL.items():
        curve = influence[influence["relation"] == relation]
        tree = str(curve["tree"].iloc[0])
        top = [peaks(step, one["bif"])["harmful"] for step, one in _by_seed(curve, tree, "bif")]
        offset = np.array(top)[:, None] - half
        numbers[f"peak_minus_transition.{relation}"] = summarize(offset[:, level])
        nearest += (np.argmin(np.abs(offset), axis=1) == level).astype(float).tolist()
    return numbers | {"nearest_transition.fraction": summarize(nearest)}


_PAIR = {
    "bif_law": "bif_vs_law",
    "bif_laplace": "bif_vs_laplace",
    "bif_prior": "bif_vs_prior",
    "bif_strong": "bif_vs_strong",
    "trajectory": "a_vs_b",
    "leave_one_out": "a_vs_c",
}


def _curves(
    results: TreeResults,
) -> Iterator[tuple[int, str, np.ndarray, np.ndarray, xr.DataArray | None]]:
    """Yield (seed, influence, step, values (checkpoint, item, item), relation-mean errors)."""
    step = results.training["step"].values
    published = results.trajectory["published"].transpose("checkpoint", "sample", "query").values
    for seed, scores in results.bif.items():
        ordered = scores["value"].transpose("checkpoint", "sample", "query").values
        yield seed, "bif", step, ordered, scores["relation_se"]
        law = results.law.sel(seed=seed)
        for name, variable in _LAWS.items():
            yield seed, name, step, law[variable].values, None
        yield seed, "trajectory", step, results.trajectory["value"].sel(seed=seed).values, None
        yield seed, "trajectory_published", step, published, None
        yield seed, "leave_one_out", step, results.retrain["value"].sel(seed=seed).values, None


def _wide(table: pd.DataFrame, value: str, index: str) -> pd.DataFrame:
    return table.pivot(index=index, columns="influence", values=value)


def _by_seed(
    curve: pd.DataFrame, tree: str, *names: str
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield, for every seed, the steps and the named curves at them."""
    chosen = curve[(curve["tree"] == tree) & curve["influence"].isin(names)]
    for _, rows in chosen.groupby("seed", sort=True):
        wide = _wide(rows, "value", "step").sort_index()
        yield wide.index.to_numpy(), {name: wide[name].to_numpy() for name in names}
