"""Entries of numbers files, for tests."""

from typing import Any


def entry(
    value: float | None = 1.0, se: float | None = None, n: int | None = None
) -> dict[str, Any]:
    """A number of the paper."""
    return {"value": value, "se": se, "n": n, "unit": "", "source": "a test"}
