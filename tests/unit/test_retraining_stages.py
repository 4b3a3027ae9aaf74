"""The stages that retrain: targets with a self-check, chains that are varied, removals, suspicion.

Caught: losses of other weights than the stored ones, a subset without a class that is trained on
all the same, tuning subsets that are scored ones, a variation that is another law or another share
of what is stable, removal of harmful samples, a detector that cannot tell samples apart.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from stagewise.calibration.settings import Calibration
from stagewise.cli import retraining_runs
from stagewise.cli.retraining_chains import varied
from stagewise.cli.retraining_mislabel import suspicion
from stagewise.cli.retraining_problem import load_problem
from stagewise.cli.retraining_removal import most_helpful
from stagewise.cli.retraining_runs import Job, rederived, run_set
from stagewise.cli.retraining_targets import retraining_targets
from stagewise.config.base import parse
from stagewise.config.retraining import (
    ProblemStage,
    RetrainingProblem,
    SampledSettings,
    TargetStage,
)
from stagewise.errors import ConfigError
from stagewise.storage import targets
from support.repository import ROOT

RECIPE = {
    "kind": "descent",
    "steps": 8,
    "batch_size": 10,
    "learning_rate": 0.1,
    "momentum": 0.5,
    "weight_decay": 1e-3,
    "members": 1,
    "checkpoints": [8],
}
SETS = {
    "scored_a50": {"role": "scored", "alpha": 0.5, "subsets": 3, "seeds": 2},
    "tuning_a50": {"role": "tuning", "alpha": 0.5, "subsets": 3, "seeds": 2},
    "loo": {"role": "loo", "subsets": 3, "seeds": 2},
}


def problem(**update: object) -> dict:
    whole = {
        "network": {"kind": "mlp", "hidden": [4]},
        "train": 80,
        "queries": 5,
        "recipe": RECIPE,
        "sets": SETS,
        "methods": ["bif", "random"],
    }
    return {**whole, **update}


def stage(**update: object) -> dict:
    return {"seed": 5, "name": "small", "problem": problem(**update)}


def made(tmp_path: Path, name: str) -> Path:
    out = tmp_path / f"{name}.nc"
    settings = parse(TargetStage, {**stage(), "set_name": name})
    retraining_targets(settings, tmp_path / "scratch", out, tmp_path / f"models_{name}.nc")
    return out


def test_targets_are_checked_against_stored_models(tmp_path: Path) -> None:
    found = targets.read(made(tmp_path, "scored_a50"))
    assert dict(found.sizes) == {"subset": 3, "seed": 2, "query": 5, "sample": 80}
    assert found.attrs["models_trained"] == 6
    assert found.attrs["steps"] == 8
    assert (found["mask"].values.sum(1) == 40).all()
    # Losses of order one, in float32 and in float64.
    assert 0 <= found.attrs["self_check"] < 1e-4


def test_the_check_sees_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = lambda problem, weights: rederived(problem, weights + 0.01)  # noqa: E731
    monkeypatch.setattr(retraining_runs, "rederived", again)
    assert targets.read(made(tmp_path, "scored_a50")).attrs["self_check"] > 1e-3


def test_tuning_and_scored_subsets_are_of_streams_of_their_own(tmp_path: Path) -> None:
    masks = [targets.read(made(tmp_path, name))["mask"].values for name in SETS]
    assert (masks[0] != masks[1]).any(axis=1).all()
    assert masks[2].sum(1).tolist() == [80, 79, 79, 79]


def test_a_subset_without_a_class_is_not_trained_on(tmp_path: Path) -> None:
    settings = parse(ProblemStage, stage())
    labels = load_problem(settings).samples.labels
    job = Job("scored_a50", "scored", 0.5, np.stack([labels != 3, labels >= 0]), 2)
    with pytest.raises(ConfigError, match=r"subset 0 has .* none of the class\(es\) \[3\]"):
        run_set(settings, job, tmp_path, {})


def test_fewer_than_two_seeds_are_refused(tmp_path: Path) -> None:
    one = {"scored_a50": {**SETS["scored_a50"], "seeds": 1}}
    with pytest.raises(ConfigError, match="at least 2 where training is random"):
        parse(ProblemStage, stage(sets=one))
    settings = parse(ProblemStage, stage())
    job = Job("scored_a50", "scored", 0.5, np.ones((1, 80), bool), 1)
    with pytest.raises(ConfigError, match="has 1 seed; two at least"):
        run_set(settings, job, tmp_path, {})


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"sets": {"scored_a30": SETS["scored_a50"]}}, "sets are called"),
        ({"recipe": {"kind": "newton", "weight_decay": 0.1}}, "needs a convex loss"),
        ({"recipe": {**RECIPE, "checkpoints": [4]}}, "must ascend and end with steps"),
        (
            {"flips": {"share": 0.1, "methods": ["trak"]}},
            r"\['trak'\] are not among methods",
        ),
        (
            {"flips": {"share": 0.1, "methods": ["bif"]}, "sets": {"loo": SETS["loo"]}},
            "needs a set of role tuning",
        ),
    ],
)
def test_bad_settings_are_named(update: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(RetrainingProblem, problem(**update))


def sampled() -> SampledSettings:
    default = yaml.safe_load((ROOT / "config" / "default.yaml").read_text())
    return parse(SampledSettings, default["retraining"]["sampled"])


def calibration(settings: SampledSettings) -> Calibration:
    return Calibration(
        kernel="baoab",
        step_size=1e-5,
        friction=-math.expm1(-2 * math.sqrt(0.5 * 1e-5 * 1e5 * settings.damping)),
        n_beta=1e5,
        localization=1e5 * settings.damping,
        potential="recentred",
        control_variate=True,
        batch_size=128,
        chains=16,
        burn_in=60,
        draws=50,
        spacing=6,
        evidence={"curvature_largest": 2.0},
        table=(),
    )


def test_the_calibrations_own_setting_is_itself_but_for_the_budget() -> None:
    settings = sampled()
    own = calibration(settings)
    found = varied(own, settings, settings.damping, own.n_beta)
    assert (found.chains, found.draws) == (settings.chains, settings.draws)
    for name in ("n_beta", "localization", "step_size", "friction"):
        assert getattr(found, name) == pytest.approx(getattr(own, name), rel=1e-12)
    assert (found.burn_in, found.spacing) == (own.burn_in, own.spacing)


def test_a_variation_keeps_the_share_of_what_is_stable() -> None:
    settings = sampled()
    own = calibration(settings)
    share = own.step_size * own.n_beta * (2.0 + settings.damping)
    for damping, n_beta in settings.pairs():
        stiff = varied(own, settings, damping, n_beta, 5.0)
        assert stiff.step_size * n_beta * (5.0 + damping) == pytest.approx(share)
        found = varied(own, settings, damping, n_beta)
        assert found.n_beta == n_beta
        assert found.localization / found.n_beta == pytest.approx(damping)
        assert found.step_size * found.n_beta * (2.0 + damping) == pytest.approx(share)
        # As many relaxation times between draws, to a step.
        rates = [math.sqrt(0.5 * one.step_size * one.localization) for one in (own, found)]
        assert abs(found.spacing - own.spacing * rates[0] / rates[1]) <= 0.5 + 1e-9


def test_pairs_must_be_as_many_as_others_settings() -> None:
    whole = sampled().model_dump(mode="json")
    with pytest.raises(ConfigError, match="every attributor has 9 settings"):
        parse(SampledSettings, {**whole, "n_betas": [1.0]})


def test_the_most_helpful_are_the_most_negative() -> None:
    row = np.array([0.5, -3.0, 0.0, -1.0, 2.0])
    found = most_helpful("mine", {"q": row}, (1, 2))
    assert [(one.k, one.left_out) for one in found] == [(1, [1]), (2, [1, 3])]


def test_a_detector_that_cannot_tell_samples_apart_gives_way() -> None:
    harm = np.array([1.0, 2.0])
    own, kind = suspicion(np.array([0.1, 0.3]), harm)
    assert (own.tolist(), kind) == ([0.1, 0.3], "self_influence")
    value, kind = suspicion(np.array([1.0, 1.0 + 1e-9]), harm)
    assert (value.tolist(), kind) == ([1.0, 2.0], "harm")
