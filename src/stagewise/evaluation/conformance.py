"""From the conformance table to the numbers of the paper: who agrees with what, and how closely."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from stagewise.storage.metrics import number

SOURCE = "conformance_table"
#: Settings of the chain that differ between problems; those of them that are counts.
SETTINGS = ("n_beta", "localization", "step_size", "burn_in", "spacing", "batch_size")
COUNTS = frozenset({"burn_in", "spacing", "batch_size"})


def with_headlines(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what is said of each sampler and problem as a whole.

    Added are ``headline``, true for the last of a problem's checks, which is its namesake: the loss
    covariance, influence or learning coefficient, or the mean losses where these alone are exact;
    ``problem_passed``, of all its checks, missing where none fails and one has no verdict; and
    ``max_abs_z``, the largest over all of them.
    """
    groups = table.groupby(["sampler", "problem"], sort=False)
    made = table.copy()
    made["headline"] = groups.cumcount(ascending=False) == 0
    verdicts = table["passed"].astype("boolean")
    made["problem_passed"] = verdicts.groupby([table["sampler"], table["problem"]]).transform(
        lambda checks: pd.NA if checks.isna().any() and checks.fillna(True).all() else checks.all()
    )
    made["max_abs_z"] = (
        table["z"].abs().groupby([table["sampler"], table["problem"]]).transform("max")
    )
    return made


def conformance_numbers(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the entries ``sampling.conformance.{sampler}.…`` of the numbers file.

    The table is one of ``with_headlines``; errors are those of the headline.
    For each problem ``passed`` (1 or 0, null without a verdict), ``max_abs_z``, ``relative_error``
    against the law that the sampler was held against, ``continuum_error`` against the target, and
    ``caught``, the relative error that would have failed; n is the number of chains. For each
    sampler ``passed_fraction`` of the problems with a verdict, and ``seconds`` in all. For each
    problem the settings of the chain, null for the batch size where gradients are full.
    """
    found = table[table["headline"]]
    entries: dict[str, dict[str, Any]] = {}
    for sampler, rows in found.groupby("sampler", sort=False):
        prefix = f"sampling.conformance.{sampler}"
        for _, row in rows.iterrows():
            for key, entry in _of_problem(row):
                entries[f"{prefix}.{row['problem']}.{key}"] = entry
        verdicts = rows["problem_passed"].dropna()
        share = float(verdicts.astype(float).mean()) if len(verdicts) else None
        count = len(verdicts) or None
        entries[f"{prefix}.passed_fraction"] = number(share, source=SOURCE, n=count)
        spent = float(rows["seconds"].sum())
        entries[f"{prefix}.seconds"] = number(spent, source=SOURCE, unit="s")
    return entries | _of_settings(found)


def _of_settings(found: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What every sampler was told on a problem: ``sampling.conformance.settings.{problem}.…``."""
    entries = {}
    for _, row in found.drop_duplicates("problem").iterrows():
        for name in SETTINGS:
            value = None if pd.isna(row[name]) else row[name]
            whole = value is not None and float(value).is_integer() and name in COUNTS
            key = f"sampling.conformance.settings.{row['problem']}.{name}"
            entries[key] = number(int(value) if whole else value, source=SOURCE)
    return entries


def _of_problem(row: pd.Series) -> Iterator[tuple[str, dict[str, Any]]]:
    chains = int(row["chains"])
    verdict = None if pd.isna(row["problem_passed"]) else int(row["problem_passed"])
    yield "passed", number(verdict, source=SOURCE)
    yield "max_abs_z", number(_finite(row["max_abs_z"]), source=SOURCE)
    yield "caught", number(_finite(row["caught"]), source=SOURCE)
    for name in ("relative_error", "continuum_error"):
        value, se = _finite(row[name]), _finite(row[f"{name}_se"])
        yield name, number(value, se=se, n=None if value is None else chains, source=SOURCE)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
