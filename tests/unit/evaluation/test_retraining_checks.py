"""Leaving one out, removals and signs by hand; what is refused, and what each refusal names."""

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.evaluation.bootstrap import resamples
from stagewise.evaluation.lds import aligned, predicted, realised
from stagewise.evaluation.loo import changes, left_out, left_out_effect, predicted_changes
from stagewise.evaluation.removal import loss_changes, removal_table
from stagewise.evaluation.retraining_files import candidate, chosen, truths
from stagewise.evaluation.signs import Rivals, judged, subset_effect
from stagewise.seeds import generator
from support.retraining_files import (
    QUERIES,
    SAMPLES,
    leave_one_out,
    make_scores,
    make_targets,
    removals,
    subsets,
    truth,
)


def test_predictions_add_up_and_follow_ids() -> None:
    # Catches sums over the samples left out, and scores taken by place instead of by id.
    targets = make_targets("scored", subsets("scored"), 0.5)
    scores = make_scores("bif", 0)
    by_hand = [[scores["value"].values[q, m].sum() for q in range(12)] for m in subsets("scored")]
    np.testing.assert_allclose(predicted(scores, targets), by_hand, rtol=0, atol=1e-12)
    shuffled = scores.isel(sample=slice(None, None, -1), query=slice(None, None, -1))
    np.testing.assert_array_equal(predicted(shuffled, targets), predicted(scores, targets))


def test_one_seed_is_refused() -> None:
    targets = make_targets("scored", subsets("scored"), 0.5, seeds=1)
    with pytest.raises(SchemaError, match=r"scored targets of net at α = 0\.5 have 1 seed"):
        realised(targets)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda s: s.isel(sample=slice(1, None)), r"bif scored other sample ids.*train/0"),
        (lambda s: s.assign_coords(query=[*QUERIES[1:], "test/x"]), "bif scored other query ids"),
        (lambda s: s.where(s["value"] > 0), "bif gave .* not finite"),
        (lambda s: s.expand_dims("checkpoint"), r"bif gave scores of shape \(1, 12, 40\)"),
    ],
)
def test_wrong_scores_are_refused_with_their_method(wrong: object, named: str) -> None:
    targets = make_targets("scored", subsets("scored"), 0.5)
    with pytest.raises(SchemaError, match=named):
        aligned(wrong(make_scores("bif", 0)), targets)  # type: ignore[operator]


def test_a_left_out_sample_loses_its_weight() -> None:
    """Without noise the change is −A(q, i), which is what a perfect attributor predicts."""
    targets = make_targets("loo", leave_one_out(), 1.0, noise=0.0)
    np.testing.assert_array_equal(left_out(targets), np.arange(10))
    perfect = make_scores("bif", 0)
    perfect["value"].values[:] = truth()
    expected = predicted_changes(perfect, targets)
    np.testing.assert_allclose(changes(targets).mean(axis=1), expected, rtol=0, atol=1e-12)
    effect = left_out_effect(targets)
    np.testing.assert_allclose(effect.values[:, :10], truth()[:, :10], rtol=0, atol=1e-12)
    assert effect.isnull().values[:, 10:].all()


def test_a_set_that_leaves_out_two_is_refused() -> None:
    mask = leave_one_out()
    mask[3, 20] = False
    with pytest.raises(SchemaError, match="loo targets of net.*the first must leave out none"):
        left_out(make_targets("loo", mask, 1.0))


def test_removals_are_losses_above_the_whole() -> None:
    targets = removals()
    rows = loss_changes(targets).set_index(["method", "about", "k"])["change"]
    loss = targets["loss"].values.mean(axis=1)
    assert rows["bif", "test/0", 2] == pytest.approx(loss[1, 0] - loss[0, 0], abs=1e-12)
    table = removal_table(targets, 100, 0.95, generator(1, "removal"))
    found = table.set_index(["method", "k"])
    assert found.loc[("bif", 5), "value"] == pytest.approx(rows["bif"].xs(5, level="k").mean())
    # The helpful samples of three queries are worth far more than chance.
    assert found.loc[("bif", 5), "low"] > found.loc[("random", 5), "value"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda t: t.drop_vars("about"), "lack the coordinate.*about"),
        (lambda t: t.isel(subset=slice(1, None)), "no row 'none'"),
        (lambda t: t.isel(subset=slice(0, -1)), "random at k = 5 lacks"),
        (lambda t: t.assign_coords(about=("subset", ["x"] * 13)), "about 'x'"),
    ],
)
def test_incomplete_removals_are_refused(wrong: object, named: str) -> None:
    with pytest.raises(SchemaError, match=named):
        removal_table(wrong(removals()), 100, 0.95, generator(1, "r"))  # type: ignore[operator]


def test_effects_of_subsets_are_differences_of_means() -> None:
    mask = subsets("scored")
    loss = make_targets("scored", mask, 0.5)["loss"].values.mean(axis=1)
    counts = np.arange(len(mask)) % 3
    rows = np.repeat(np.arange(len(mask)), counts)
    held = mask[rows, 4]
    by_hand = loss[rows][held].mean(axis=0) - loss[rows][~held].mean(axis=0)
    np.testing.assert_allclose(subset_effect(loss, mask, counts)[:, 4], by_hand, rtol=0, atol=1e-12)


def test_a_judge_decides_conflicts_by_hand() -> None:
    """Five pairs are resolved; in three of them signs differ, and BIF wins two of these."""
    bif = np.array([[-2.0, -0.1, 3.0, 1.5, -1.0], [-2.0, -0.1, -0.1, -0.1, -0.1]])
    ekfac = np.array([[-1.0, 1.0, -1.0, -1.0, 1.0], [-1.0, 1.0, 1.0, 1.0, 1.0]])
    judge = np.array([[-1.0, 1.0, 2.0, 2.0, 0.5], [-1.0, np.nan, 0.0, 1.0, 1.0]])
    rivals = Rivals(bif, np.full(bif.shape, 0.25), ekfac)
    rows = {(r["scope"], r["method"]): r for r in judged(rivals, judge, _draws(), 0.95)}
    assert (rows["conflicts", "bif"]["value"], rows["conflicts", "bif"]["n"]) == (2 / 3, 3)
    assert (rows["all", "bif"]["value"], rows["all", "bif"]["n"]) == (4 / 5, 5)
    assert rows["all", "ekfac"]["value"] == 3 / 5


def _draws() -> object:
    return resamples(100, 5, 2, generator(2, "judges"))


def test_settings_are_chosen_without_the_scored_subsets() -> None:
    """Scored losses that favour the noisiest setting change nothing."""
    tuning = make_targets("tuning", subsets("tuning"), 0.5)
    mask = subsets("scored")
    honest = make_targets("scored", mask, 0.5)
    worst = make_scores("bif", 2)
    bait = honest.copy(deep=True)
    bait["loss"].values[:] = predicted(worst, honest)[:, None]
    for scored in (honest, bait):
        found = truths([tuning, scored])
        best = chosen([candidate(make_scores("bif", k), found) for k in range(3)], found)
        assert best["net"]["bif"].setting == 0


def without(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """Returns a copy that lacks an attribute."""
    copy = dataset.copy()
    del copy.attrs[name]
    return copy


def test_files_that_do_not_belong_together_are_refused() -> None:
    scored, tuning = (make_targets(role, subsets(role), 0.5) for role in ("scored", "tuning"))
    with pytest.raises(SchemaError, match="none to choose settings on"):
        truths([scored])
    with pytest.raises(SchemaError, match="scored targets of net at α = 0.5 are given twice"):
        truths([scored, tuning, scored])
    with pytest.raises(SchemaError, match="allowed roles"):
        truths([without(scored, "role")])
    found = truths([scored, tuning])
    with pytest.raises(SchemaError, match="of ekfac are of 'convex', which has no targets"):
        candidate(make_scores("ekfac", 0, "convex"), found)
    with pytest.raises(SchemaError, match=r"of trak lack.*seconds"):
        candidate(without(make_scores("ekfac", 0), "seconds").assign_attrs(method="trak"), found)
    assert found["net"].models_trained() == 2 * 24 * 4
    assert SAMPLES == scored["sample"].values.tolist()
