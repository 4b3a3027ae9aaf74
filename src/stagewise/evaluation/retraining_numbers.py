"""The retraining experiments as numbers of the paper."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stagewise.evaluation.curves import Summary
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.retraining_files import Truth
from stagewise.evaluation.retraining_tables import BIF

PREFIX, SOURCE = "retraining", "retraining_tables"
Found = dict[str, Summary]


def alpha_word(alpha: float) -> str:
    """Return the word of a key for α, which may hold no point: ``alpha50`` for 0.5."""
    return f"alpha{round(100 * alpha):d}"


def retraining_numbers(
    tables: Mapping[str, pd.DataFrame], found: Mapping[str, Truth], study: bool = False
) -> dict[str, dict[str, Any]]:
    """Return all entries; see the module's functions for their keys.

    Args:
        tables: Every table of the stage, by name.
        found: Retrainings by problem.
        study: Whether totals are ``studies.models_trained`` and ``studies.self_check``.
    """
    numbers: Found = {}
    numbers |= _scores(tables["retraining_lds"])
    numbers |= _differences(tables["retraining_difference"])
    numbers |= _ceilings(tables["retraining_ceiling"])
    numbers |= _settings(tables["retraining_settings"])
    numbers |= _loo(tables["retraining_loo"])
    numbers |= _removal(tables["retraining_removal"])
    numbers |= _signs(tables["retraining_signs"])
    numbers |= _mislabel(tables["retraining_mislabel"])
    numbers |= {f"studies.{key}" if study else key: one for key, one in _runs(found).items()}
    entries: dict[str, dict[str, Any]] = {}
    for key, summary in numbers.items():
        entries |= as_numbers({key: summary}, PREFIX, SOURCE, _unit(key))
    return entries


def _unit(key: str) -> str:
    words = key.split(".")
    if "seconds" in words:
        return "s"
    if "megabytes" in words:
        return "MB"
    return "nats" if words[0] == "removal" or words[-1] == "self_check" else ""


def _with_ends(key: str, row: Any, count: int) -> Found:
    """Return a value with its error, and its interval's ends."""
    return {
        key: Summary(float(row.value), float(row.se), int(count)),
        f"{key}_low": exact(float(row.low)),
        f"{key}_high": exact(float(row.high)),
    }


def _rows(table: pd.DataFrame) -> Iterable[Any]:
    return table.itertuples(index=False)


def _scores(table: pd.DataFrame) -> Found:
    """``{problem}.lds.alpha50.{method}``; n counts subsets."""
    numbers: Found = {}
    for row in _rows(table):
        key = f"{row.problem}.lds.{alpha_word(row.alpha)}.{row.method}"
        numbers |= _with_ends(key, row, row.n_subsets)
        numbers[f"{row.problem}.subsets.{alpha_word(row.alpha)}"] = exact(int(row.n_subsets))
        numbers[f"{row.problem}.queries"] = exact(int(row.n_queries))
    return numbers


def _differences(table: pd.DataFrame) -> Found:
    """``{problem}.difference.alpha50.{method}``: BIF less the method; else first_less_second."""
    numbers: Found = {}
    for row in _rows(table):
        name = row.second if row.first == BIF else f"{row.first}_less_{row.second}"
        key = f"{row.problem}.difference.{alpha_word(row.alpha)}.{name}"
        numbers |= _with_ends(key, row, row.n_subsets)
    return numbers


def _ceilings(table: pd.DataFrame) -> Found:
    """``{problem}.ceiling.alpha50`` and ``{problem}.split_half.alpha50``; n counts seeds."""
    numbers: Found = {}
    for row in _rows(table):
        numbers |= _with_ends(f"{row.problem}.{row.quantity}.{alpha_word(row.alpha)}", row, row.n)
    return numbers


def _settings(table: pd.DataFrame) -> Found:
    """Of the chosen setting ``{problem}.{tuning,seconds,megabytes}.{method}``.

    Also ``{problem}.tuning_median.{method}`` over all settings, which says what tuning was worth.
    """
    numbers: Found = {}
    for (problem, method), rows in table.groupby(["problem", "method"], sort=False):
        best = rows[rows["chosen"]].iloc[0]
        numbers[f"{problem}.tuning.{method}"] = exact(float(best["value"]), len(rows))
        numbers[f"{problem}.tuning_median.{method}"] = exact(float(rows["value"].median()))
        for name in ("seconds", "megabytes"):
            numbers[f"{problem}.{name}.{method}"] = exact(float(best[name]))
    return numbers


def _loo(table: pd.DataFrame) -> Found:
    """``loo.{problem}.{method}``, with split_half and ceiling among the methods."""
    numbers: Found = {}
    for row in _rows(table):
        numbers |= _with_ends(f"loo.{row.problem}.{row.method}", row, row.n_samples)
        numbers[f"loo.{row.problem}.samples"] = exact(int(row.n_samples))
        numbers[f"loo.{row.problem}.seeds"] = exact(int(row.seeds))
    return numbers


def _removal(table: pd.DataFrame) -> Found:
    """``removal.{problem}.{method}.k40``; n counts queries."""
    numbers: Found = {}
    for row in _rows(table):
        key = f"removal.{row.problem}.{row.method}.k{row.k}"
        numbers[key] = Summary(float(row.value), float(row.se), int(row.n))
    return numbers


def _signs(table: pd.DataFrame) -> Found:
    """``signs.{problem}.{judge}.{scope}.{method}``; n counts pairs (query, sample)."""
    numbers: Found = {}
    for row in _rows(table):
        key = f"signs.{row.problem}.{row.judge}.{row.scope}.{row.method}"
        numbers[key] = Summary(float(row.value), float(row.se), int(row.n))
    return numbers


def _mislabel(table: pd.DataFrame) -> Found:
    """``mislabel.{problem}.auroc.{method}``, ``mislabel.{problem}.flipped``; n counts samples."""
    numbers: Found = {}
    for row in _rows(table):
        start = f"mislabel.{row.problem}"
        numbers[f"{start}.auroc.{row.method}"] = Summary(row.value, row.se, int(row.n))
        numbers[f"{start}.flipped"] = exact(int(row.flipped))
    return numbers


def _runs(found: Mapping[str, Truth]) -> Found:
    """``models_trained`` and ``self_check``, over everything."""
    checks = [float(one.attrs.get("self_check", np.nan)) for t in found.values() for one in t.all()]
    known = [one for one in checks if np.isfinite(one)]
    return {
        "models_trained": exact(sum(one.models_trained() for one in found.values())),
        "self_check": exact(max(known) if known else float("nan"), len(known)),
    }
