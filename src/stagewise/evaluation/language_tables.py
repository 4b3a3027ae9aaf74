"""The language experiments as tidy tables.

Influences are in the BIF sense, negative = helpful; correlations are given the same sign. Errors
are those of chains and sequences, added in squares.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.config.token_classes import CLASSES
from stagewise.evaluation.change_points import Change
from stagewise.evaluation.language_claims import (
    combined_se,
    deviates,
    noise_cancellation,
    peak,
    phase_masks,
    reversals,
    sign_changes,
    summed,
)
from stagewise.evaluation.language_influence import INDUCTION, around
from stagewise.evaluation.language_stages import ALL

#: Moments of the heat maps.
HEAT_MOMENTS = ("before", "at", "after")
#: What stands for characters that leave no mark.
_VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\r": "↵", "\t": "⇥"})
_CURVES = ("influence", "prior", "gradient", "correlation")


class SeedResult(NamedTuple):
    """One scored training: its influence, and when its stages were."""

    run: str
    seed: int
    influence: xr.Dataset
    transition: Change
    bigram: Change

    @property
    def step(self) -> np.ndarray:
        """Steps of the sampled checkpoints."""
        return self.influence["step"].values.astype(np.float64)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the unordered pairs of classes that have tokens in different sequences."""
        first, second = np.triu_indices(len(CLASSES))
        known = np.isfinite(self.influence["influence"].values[:, first, second]).all(axis=0)
        return first[known], second[known]

    def helps(self, name: str = "influence") -> np.ndarray:
        """Return helpfulness (checkpoint, pair)."""
        first, second = self.pairs()
        return -self.influence[name].values[:, first, second]

    def replicates(self, name: str = "influence_replicate") -> np.ndarray:
        """Return its replicates (replicate, checkpoint, pair); where one lacks a pair, the mean."""
        first, second = self.pairs()
        drawn = -self.influence[name].values[..., first, second].swapaxes(0, 1)
        whole = self.helps("gradient" if name.startswith("gradient") else "influence")
        return np.where(np.isfinite(drawn), drawn, whole)

    def z(self) -> np.ndarray:
        """Return deviates of helpfulness (checkpoint, pair)."""
        first, second = self.pairs()
        chain, sequence = (
            self.influence[f"influence_{name}_se"].values[:, first, second]
            for name in ("chain", "sequence")
        )
        sizes = (int(self.influence.attrs[f"n_{name}"]) for name in ("chains", "sequences"))
        return deviates(self.helps(), chain, sequence, *sizes)

    def names(self) -> list[str]:
        """Return the pairs' names."""
        return [f"{CLASSES[i]} · {CLASSES[j]}" for i, j in zip(*self.pairs(), strict=True)]

    def place(self, one: str, other: str) -> int | None:
        """Return the position of a pair, None where it is not known."""
        wanted = sorted((CLASSES.index(one), CLASSES.index(other)))
        found = [list(pair) for pair in zip(*self.pairs(), strict=True)]
        return found.index(wanted) if wanted in found else None


def curve_table(result: SeedResult) -> pd.DataFrame:
    """Return kind, first, second, step, value, se of every curve of every pair of classes."""
    data = result.influence
    first, second = result.pairs()
    parts = []
    for name in _CURVES:
        sign = -1 if name == "correlation" else 1
        se = combined_se(*(data[f"{name}_{kind}_se"].values for kind in ("chain", "sequence")))
        parts.append(_pairs(result, name, sign * data[name].values, se, first, second))
    parts.append(
        _pairs(result, "null", -data["null"].values, data["null_se"].values, first, second)
    )
    own = first[first == second]
    for index, relation in enumerate(data["relation"].values.tolist()):
        value = data["kind"].values[..., index]
        se = combined_se(
            *(data[f"kind_{kind}_se"].values[..., index] for kind in ("chain", "sequence"))
        )
        parts.append(_rows(result, relation, value[:, own], se[:, own], own, own))
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])


def _pairs(
    result: SeedResult,
    kind: str,
    value: np.ndarray,
    se: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> pd.DataFrame:
    return _rows(result, kind, value[:, first, second], se[:, first, second], first, second)


def _rows(
    result: SeedResult,
    kind: str,
    value: np.ndarray,
    se: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> pd.DataFrame:
    names = np.array(CLASSES)
    steps, count = len(value), len(first)
    return pd.DataFrame(
        {
            "run": result.run,
            "seed": result.seed,
            "kind": kind,
            "first": np.tile(names[first], steps),
            "second": np.tile(names[second], steps),
            "step": np.repeat(result.influence["step"].values, count),
            "value": value.ravel(),
            "se": se.ravel(),
        }
    )


def moments(result: SeedResult) -> list[int]:
    """Return the checkpoints halfway to the transition, next to it, and halfway to the end."""
    when = result.transition.step
    place = int(np.argmin(np.abs(result.step - when))) if np.isfinite(when) else None
    return around(place, len(result.step))


def heat_table(result: SeedResult) -> pd.DataFrame:
    """Return moment, step, first, second, value, z of all classes with tokens, before to after."""
    data, parts = result.influence, []
    present = np.flatnonzero(data["token_count"].values)
    first, second = (one.ravel() for one in np.meshgrid(present, present, indexing="ij"))
    sizes = [int(data.attrs[f"n_{name}"]) for name in ("chains", "sequences")]
    errors = [data[f"influence_{name}_se"].values for name in ("chain", "sequence")]
    z = deviates(data["influence"].values, *errors, *sizes)
    for moment, index in zip(HEAT_MOMENTS, moments(result), strict=True):
        keys = {"run": result.run, "seed": result.seed, "moment": moment}
        keys |= {"step": int(data["step"].values[index])}
        keys |= {"first": np.array(CLASSES)[first], "second": np.array(CLASSES)[second]}
        value = data["influence"].values[index][first, second]
        parts.append(pd.DataFrame(keys | {"value": value, "z": z[index][first, second]}))
    return pd.concat(parts, ignore_index=True)


def text_table(result: SeedResult) -> pd.DataFrame:
    """Return influence of every token of a sequence on one query: its last induction token.

    Columns: moment, step, sequence, query, place, text, class, value, se; ``query`` and ``place``
    count predicted tokens from 0.
    """
    data, parts = result.influence, []
    for shown, name in enumerate(data["shown_sequence"].values.tolist()):
        classes = data["text_class"].values[shown]
        repeated = np.flatnonzero(classes == INDUCTION)
        query = int(repeated[-1]) if repeated.size else len(classes) - 1
        read = [str(one).translate(_VISIBLE) for one in data["text"].values[shown]]
        for index, moment in enumerate(data["moment"].values.tolist()):
            keys = {"run": result.run, "seed": result.seed, "moment": moment}
            keys |= {"step": int(data["text_step"].values[index]), "sequence": name}
            keys |= {"query": query, "place": np.arange(len(classes)), "text": read}
            keys |= {"class": np.array(CLASSES)[classes]}
            keys |= {"value": data["text_influence"].values[index, shown, query]}
            keys |= {"se": data["text_se"].values[index, shown, query]}
            parts.append(pd.DataFrame(keys))
    return pd.concat(parts, ignore_index=True)


def llc_table(result: SeedResult) -> pd.DataFrame:
    """Return step, group ("all" or a class), value, se of the local learning coefficient."""
    data = result.influence
    keys = {"run": result.run, "seed": result.seed, "step": data["step"].values}
    whole = {"group": ALL, "value": data["llc"].values, "se": data["llc_se"].values}
    parts = [pd.DataFrame(keys | whole)]
    for index, name in enumerate(CLASSES):
        own = {"value": data["llc_class"].values[:, index]}
        own |= {"se": data["llc_class_se"].values[:, index]}
        parts.append(pd.DataFrame(keys | {"group": name} | own))
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])


def cancel_table(result: SeedResult) -> pd.DataFrame:
    """Return what a sum over training makes of every pair, by method ("bif", "gradient").

    Columns: first, second, total, size, cancelled, se (over replicates), noise (what would seem to
    cancel if no curve changed its sign), sign_change (of the influence, beyond chance).
    """
    first, second = result.pairs()
    changes, _ = sign_changes(result.z())
    rate = float(result.influence.attrs["learning_rate"])
    parts = []
    for method, value, drawn in (
        ("bif", "influence", "influence_replicate"),
        ("gradient", "gradient", "gradient_replicate"),
    ):
        curves, replicates = result.helps(value), result.replicates(drawn)
        whole, spread = summed(result.step, curves, rate), summed(result.step, replicates, rate)
        keys = {"run": result.run, "seed": result.seed, "method": method}
        keys |= {"first": np.array(CLASSES)[first], "second": np.array(CLASSES)[second]}
        # Sums, too, in the BIF sense.
        keys |= {"total": -whole.total, "size": whole.size, "cancelled": whole.cancelled}
        keys |= {"se": spread.cancelled.std(axis=0, ddof=1)}
        keys |= {"noise": noise_cancellation(result.step, curves, replicates)}
        parts.append(pd.DataFrame(keys | {"sign_change": changes}))
    return pd.concat(parts, ignore_index=True)


def claim_table(result: SeedResult) -> pd.DataFrame:
    """Return quantity, group, value, se, low, high of what is claimed of one training.

    ``transition`` and ``bigram``: steps, low and high the 95% interval (``*_width``: τ). ``peak``:
    step of the largest helpfulness between tokens of a class; ``offset``: that of induction less
    the transition. ``sign_change`` and ``reverses`` of a pair: 1 where it is beyond chance; low and
    high are the extreme deviates, of the helpfulness, or of its largest fall and rise.
    """
    rows: list[tuple] = []
    for name, change in (("transition", result.transition), ("bigram", result.bigram)):
        rows.append((name, ALL, change.step, change.se, change.low, change.high))
        rows.append((f"{name}_width", ALL, change.width, np.nan, np.nan, np.nan))
        rows.append((f"{name}_before", ALL, change.before, np.nan, np.nan, np.nan))
        rows.append((f"{name}_after", ALL, change.after, np.nan, np.nan, np.nan))
    names, (first, second) = result.names(), result.pairs()
    curves, replicates, z = result.helps(), result.replicates(), result.z()
    for index in np.flatnonzero(first == second):
        top = peak(result.step, curves[:, index], replicates[..., index])
        its_class = CLASSES[first[index]]
        rows.append(("peak", its_class, top.step, top.se, top.low, top.high))
        if first[index] == INDUCTION:
            se = float(np.hypot(top.se, result.transition.se))
            offset = top.step - result.transition.step
            rows.append(("offset", ALL, offset, se, offset - 1.96 * se, offset + 1.96 * se))
    changes, _ = sign_changes(z)
    rises, falls, limit = reversals(curves, replicates, int(result.influence.attrs["n_chains"]) - 1)
    for index, name in enumerate(names):
        extremes = (z[:, index].min(), z[:, index].max())
        rows.append(("sign_change", name, float(changes[index]), np.nan, *extremes))
        turned = float(min(rises[index], falls[index]) > limit)
        rows.append(("reverses", name, turned, np.nan, -falls[index], rises[index]))
    columns = ["quantity", "group", "value", "se", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(run=result.run, seed=result.seed)[["run", "seed", *columns]]


def masks_of(results: Sequence[SeedResult]) -> list[np.ndarray] | None:
    """Return which checkpoints of each training lie in which phase; None where one is not dated."""
    found = [(one.step, one.transition.step, one.transition.width) for one in results]
    if not all(np.isfinite(when) and np.isfinite(width) for _, when, width in found):
        return None
    return [phase_masks(*one) for one in found]
