"""Cost curves for the figures of the bench, made up so that every point can be told apart."""

import pandas as pd

SIZES = {"chains": (8, 64), "draws": (10, 160), "recorded": (10, 1000), "hidden": (16, 256)}


def bench_costs() -> pd.DataFrame:
    """Two sizes on each axis; memory of the last axis was not measured."""
    rows = [
        {"axis": axis, "value": value, "quantity": quantity, "cost": scale * (1 + place + k)}
        for place, (axis, values) in enumerate(SIZES.items())
        for k, value in enumerate(values)
        for quantity, scale in (("each", 0.1), ("memory", 100.0))
        if (axis, quantity) != ("hidden", "memory")
    ]
    return pd.DataFrame(rows)
