"""From summaries over replicates to entries of the numbers file."""

import math
from collections.abc import Mapping
from typing import Any

from stagewise.evaluation.curves import Summary
from stagewise.storage.metrics import number


def as_numbers(
    summaries: Mapping[str, Summary], prefix: str, source: str, unit: str | Mapping[str, str] = ""
) -> dict[str, dict[str, Any]]:
    """Entries ``{prefix}.{key}``; a value or error that is NaN is written as null.

    Args:
        summaries: Key to value, standard error, count.
        prefix: First words of every key, such as ``toy``.
        source: Stage that measured them.
        unit: One unit for all, or by the first word of the key.
    """
    entries = {}
    for key, summary in summaries.items():
        its_unit = unit if isinstance(unit, str) else unit.get(key.split(".")[0], "")
        entries[f"{prefix}.{key}"] = number(
            _finite(summary.value),
            se=_finite(summary.se),
            n=summary.n if summary.n > 0 else None,
            unit=its_unit,
            source=source,
        )
    return entries


def exact(value: float, n: int | None = None) -> Summary:
    """A number without sampling error, such as a maximum over everything that was computed."""
    return Summary(float(value), float("nan"), n or 0)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
