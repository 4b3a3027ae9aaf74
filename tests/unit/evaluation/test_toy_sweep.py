"""Sweep: the numbers drawn from its table."""

import math

import numpy as np
import pandas as pd

from stagewise.evaluation.toy_sweep import sweep_summaries


def table(r: list[float], local: list[float], target: str = "law") -> pd.DataFrame:
    """A sweep over n_beta, at one localization and relaxation."""
    cells = pd.DataFrame({"r": r, "local_fraction": local, "se": 0.01, "n": 3, "target": target})
    return cells.assign(
        n_beta=[10.0**k for k in range(len(r))],
        localization=100.0,
        step_size=1.0e-3,
        relaxation=0.1,
    )


def test_best_worst_and_the_best_setting_are_those_of_the_cells() -> None:
    found = sweep_summaries(table([0.5, np.nan, 0.9, 0.2], [1.0, 0.0, 1.0, 0.5]))
    assert found["law.best_r"] == (0.9, 0.01, 3)
    assert found["law.worst_r"] == (0.2, 0.01, 3)
    settings = ("n_beta", "localization", "relaxation")
    assert [found[f"law.best.{name}"].value for name in settings] == [100.0, 100.0, 0.1]
    assert "law.best.step_size" not in found


def test_the_median_is_over_cells_with_a_law_at_every_checkpoint() -> None:
    found = sweep_summaries(table([0.5, 0.6, 0.9, 0.1, np.nan], [1.0, 1.0, 1.0, 0.99, 1.0]))
    assert (found["law.median_r_local"].value, found["law.median_r_local"].n) == (0.6, 3)


def test_a_target_without_any_correlation_has_no_numbers_but_its_keys() -> None:
    whole = table([0.5, 0.6], [0.5, 0.5])
    none = table([np.nan, np.nan], [0.0, 0.0], target="trajectory")
    found = sweep_summaries(pd.concat([whole, none]))
    missing = {key: summary for key, summary in found.items() if key.startswith("trajectory.")}
    assert len(missing) == 6
    assert all(math.isnan(summary.value) and summary.n == 0 for summary in missing.values())
    assert found["law.best_r"].value == 0.6
    assert math.isnan(found["law.median_r_local"].value)
