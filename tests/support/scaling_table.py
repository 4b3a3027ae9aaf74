"""Costs against parameters, made up so that every point can be told apart; none of a CPU."""

import pandas as pd

PARAMETERS = (1e7, 1e8, 1e9)


def scaling_table() -> pd.DataFrame:
    """Both methods and quantities on a GPU, with lines half a percent off."""
    rows = [
        {
            "device": "gpu",
            "method": method,
            "quantity": quantity,
            "parameters": x,
            "cost": scale * x**power,
            "fitted": 1.005 * scale * x**power,
        }
        for method, power in (("bif", 1.0), ("ekfac", 1.5))
        for quantity, scale in (("seconds", 1e-6), ("memory", 1e-4))
        for x in PARAMETERS
    ]
    return pd.DataFrame(rows)
