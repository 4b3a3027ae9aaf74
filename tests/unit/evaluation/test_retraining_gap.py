"""Why sampled influence scores below exact influence, in a world where the reason is known.

Runs are a known prediction and noise of their own. Caught: noise of the draws that is laid to the
law or the other way round, runs of another damping, exact influence at another damping, differences
of unlike resamples, a damping whose chains diverged.
"""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stagewise.config.retraining_study import Cell
from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import LEVEL
from stagewise.evaluation.lds import lds, predicted, realised
from stagewise.evaluation.retraining_gap import STEPS, gap_numbers, gap_table
from stagewise.evaluation.retraining_tables import Plan
from support.retraining_files import make_scores, make_targets, subsets

DAMPINGS, RUNS = (0.003, 0.01), 4
#: Subsets enough that the error of a score is small beside what noise takes.
SUBSETS = 200


def cells() -> list[Cell]:
    base = {"axis": "replicas", "n_beta": 1e5, "chains": 8, "draws": 10}
    return [
        Cell(name=f"replica_{i}{k}", damping=damping, **base)
        for i, damping in enumerate(DAMPINGS)
        for k in range(RUNS)
    ]


def targets() -> xr.Dataset:
    return make_targets("scored", subsets("gap", count=SUBSETS), 0.5)


def influence(method: str, damping: float) -> xr.Dataset:
    """Exact influence, the better at the first damping."""
    made = make_scores("exact_ggn", DAMPINGS.index(damping))
    return made.assign_attrs(method=method, setting_label=f"damping {damping:g}")


def runs(noise: float, law: float = 0.0) -> xr.Dataset:
    """Every cell's prediction: the exact one, an error of the law, and noise of each run.

    Args:
        noise: Of one run, in units of the standard deviation of the prediction over subsets.
        law: Of an error that all runs share, in the same unit.
    """
    rng = np.random.default_rng(11)
    found = []
    for damping in DAMPINGS:
        exact = predicted(influence("exact_hessian", damping), targets())
        shared = exact + law * exact.std(axis=0) * rng.standard_normal(exact.shape)
        each = noise * exact.std(axis=0) * rng.standard_normal((RUNS, *exact.shape))
        found += list(shared + each)
    names = [one.name for one in cells()]
    return xr.Dataset(
        {"prediction": (("cell", "subset", "query"), np.array(found))}, {"cell": names}
    )


def table(found: xr.Dataset) -> pd.DataFrame:
    exact = [influence(m, d) for m in ("exact_hessian", "exact_ggn") for d in DAMPINGS]
    return gap_table(cells(), found, targets(), exact, Plan(5, 100, LEVEL, 1))


def values(made: pd.DataFrame, damping: float) -> pd.Series:
    return made[made["damping"] == damping].set_index("quantity")["value"]


def test_the_scores_are_those_of_single_runs_and_of_their_mean() -> None:
    found, loss = runs(0.8), realised(targets())
    for place, damping in enumerate(DAMPINGS):
        own = found["prediction"].values[place * RUNS : (place + 1) * RUNS]
        value = values(table(found), damping)
        assert value["run"] == pytest.approx(np.mean([lds(loss, one) for one in own]))
        assert value["pooled"] == pytest.approx(lds(loss, own.mean(axis=0)))
        exact = predicted(influence("exact_hessian", damping), targets())
        assert value["exact_hessian"] == pytest.approx(lds(loss, exact))
        for name, (first, second) in STEPS.items():
            assert value[name] == pytest.approx(value[first] - value[second])


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_noise_of_the_draws_is_not_laid_to_the_law(noise: float) -> None:
    value = values(table(runs(noise)), DAMPINGS[0])
    # Without attenuation by 1/sqrt(1 + noise²) of one run nothing would be to be explained.
    lost = value["exact_hessian"] * (1 - 1 / np.sqrt(1 + noise**2))
    assert value["draws"] == pytest.approx(lost, abs=0.02)
    assert value["law"] == pytest.approx(0.0, abs=0.015)
    # The mean of four runs alone would not do.
    assert noise < 1 or value["exact_hessian"] - value["pooled"] > 0.05


def test_an_error_that_runs_share_is_the_laws() -> None:
    value = values(table(runs(0.5, law=0.7)), DAMPINGS[0])
    assert value["law"] == pytest.approx(value["exact_hessian"] * (1 - 1 / np.sqrt(1.49)), abs=0.02)


def test_the_limit_and_the_exact_score_are_paired() -> None:
    """Both see the same resamples: their difference has a smaller error than either."""
    made = table(runs(0.3)).query(f"damping == {DAMPINGS[0]}").set_index("quantity")["se"]
    assert made["law"] < 0.5 * min(made["limit"], made["exact_hessian"])


def test_a_damping_whose_chains_diverged_has_no_rows() -> None:
    found = runs(0.3)
    found["prediction"][1] = np.nan
    assert set(table(found)["damping"]) == {DAMPINGS[1]}


def test_runs_that_do_not_agree_have_no_limit() -> None:
    rng, found = np.random.default_rng(2), runs(0.3)
    noise = rng.standard_normal(found["prediction"].shape)
    noise[1::2] = -noise[::2]  # so that halves of the runs cancel, or are each other's negative
    value = values(table(found.assign(prediction=(found["prediction"].dims, noise))), DAMPINGS[0])
    assert value["reliability"] == 0.0
    assert np.isnan(value["limit"])
    assert np.isfinite(value["run"])


def test_exact_influence_at_another_damping_is_refused() -> None:
    others = [influence("exact_ggn", 0.01).assign_attrs(setting_label="damping 1")]
    with pytest.raises(SchemaError, match=r"no exact influence at damping 0.003; .*damping 1"):
        gap_table(cells(), runs(0.3), targets(), others, Plan(5, 100, LEVEL, 1))


def test_numbers_name_the_damping_and_the_draws() -> None:
    numbers = gap_numbers(table(runs(0.3)))
    assert numbers["gap.damping30.damping"].value == 0.003
    assert numbers["gap.damping100.run"].n == SUBSETS
    assert numbers["gap.damping30.draws_pooled"].value == RUNS * 80
    assert numbers["gap.damping30.draws_run"].value == 80
