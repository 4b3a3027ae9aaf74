"""A small conformance table, made from formulas, never from results."""

import numpy as np
import pandas as pd

#: (sampler, version) -> verdict, law and errors on two problems.
ROWS = (
    ("stagewise_sgld", "0.1.0", "gaussian", "sgld", True, 0.01, 0.15),
    ("stagewise_sgld", "0.1.0", "deep_linear", "continuum", True, -0.03, -0.03),
    ("other_mala", "2", "gaussian", "exact", False, 0.4, 0.4),
    ("other_mala", "2", "deep_linear", None, None, np.nan, np.nan),
)


def conformance_table() -> pd.DataFrame:
    """Two samplers on two problems: agrees, within the allowance, fails, no verdict."""
    rows = [
        {
            "sampler": sampler,
            "version": version,
            "problem": problem,
            "law": law,
            "headline": headline,
            "problem_passed": passed,
            "relative_error": error,
            "relative_error_se": 0.1 * abs(error),
            "continuum_error": off,
            "continuum_error_se": 0.1 * abs(off),
        }
        for sampler, version, problem, law, passed, error, off in ROWS
        for headline in (False, True)
    ]
    return pd.DataFrame(rows)
