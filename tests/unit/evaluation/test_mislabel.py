"""Detectors of flipped labels and influence beside EK-FAC, by hand and against scikit-learn.

Caught: an area turned over, an image that is its own neighbour, help and harm in each other's
place, a conflict that noise makes, files of other images.
"""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from stagewise.errors import SchemaError
from stagewise.evaluation.mislabel import (
    Judged,
    check,
    detection,
    detector_table,
    detectors,
    disagreement,
    influence_table,
    mislabel_numbers,
)

COUNT, QUERIES = 12, 3
SAMPLE = [f"train/{place}" for place in range(COUNT)]
QUERY = [f"held/{place}" for place in range(QUERIES)]
FLIPPED = np.arange(COUNT) % 3 == 0
#: Of the kernel's file, no two alike, so that one in another's place shows.
ATTRS = {
    "mean_excess": 0.1,
    "rhat_loss_max": 1.2,
    "ess_product_min": 34.0,
    "chains_dropped": 2,
    "drift_max_z": 1.7,
    "drift_entries": 8,
}


def judged() -> Judged:
    """Flipped images have large losses; EK-FAC's influence is the sampled one but for a sign."""
    rng = np.random.default_rng(0)
    value = rng.normal(size=(QUERIES, COUNT))
    ekfac = value.copy()
    ekfac[:, 0] *= -1
    se = np.full_like(value, 1e-3)
    se[:, 1] = 1e3
    ekfac[:, 1] *= -1
    kernel = np.eye(COUNT)
    measured = xr.Dataset(
        {
            "flipped": ("sample", FLIPPED),
            "given": ("sample", np.arange(COUNT) % 2),
            "loss": ("sample", FLIPPED + rng.random(COUNT) / 2),
            "el2n": ("sample", rng.random(COUNT)),
            "self_gradient": ("sample", -FLIPPED.astype(float)),
            "penultimate": (("sample", "partner"), kernel),
            "ekfac": (("query", "sample"), ekfac),
            "gradient": (("query", "sample"), -value),
        },
        coords={"sample": SAMPLE, "query": QUERY},
        attrs={"ekfac_seconds": 2.0, "damping": 0.1},
    )
    influence = xr.Dataset(
        {"value": (("query", "sample"), value), "se": (("query", "sample"), se)},
        coords={"sample": SAMPLE, "query": QUERY},
    )
    pixels = {name: "1:x" for name in (*SAMPLE, *QUERY)}
    return Judged(measured, kernel, rng.random(COUNT), influence, pixels, ATTRS)


def test_area_is_that_of_scikit_learn_with_ties() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    value = rng.integers(0, 5, 60).astype(float)
    flipped = rng.random(60) < 0.3
    found = detection(value, flipped, np.random.default_rng(2))
    assert found.value == pytest.approx(roc_auc_score(flipped, value), abs=1e-12)
    assert found.n == 60


def test_disagreement_by_hand() -> None:
    similarity = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
    given = np.array([0, 0, 1])
    np.testing.assert_array_equal(disagreement(similarity, given, 1), [0, 0, 1])
    np.testing.assert_array_equal(disagreement(similarity, given, 2), [0.5, 0.5, 1])


def test_a_detector_that_knows_is_told_from_one_that_has_it_backwards() -> None:
    table = detector_table(judged(), 2, np.random.default_rng(0)).set_index("detector")
    assert table.loc["loss", "value"] == 1.0
    assert table.loc["self_gradient", "value"] == 0.0
    assert (table["n"] == COUNT).all()


def test_harm_is_the_mean_influence_over_queries() -> None:
    one = judged()
    found = detectors(one, 2, np.random.default_rng(0))
    np.testing.assert_allclose(found["cross_influence"], one.influence["value"].values.mean(0))
    np.testing.assert_array_equal(found["kernel_variance"], one.variance)


def test_helpful_images_have_the_most_negative_influence() -> None:
    one = judged()
    table = influence_table(one)
    own = table[(table["method"] == "bif") & (table["query"] == QUERY[0])]
    value = one.influence["value"].values[0]
    helps = own[own["side"] == "helps"].sort_values("rank")["sample"].tolist()
    harms = own[own["side"] == "harms"].sort_values("rank")["sample"].tolist()
    order = [SAMPLE[place] for place in np.argsort(value)]
    assert helps == order[: len(helps)]
    assert harms == order[::-1][: len(harms)]


def test_conflicts_are_resolved_influences_of_another_sign() -> None:
    """Image 0 has another sign and a small error, image 1 another sign and a large one."""
    table = influence_table(judged())
    assert set(table[table["conflict"]]["sample"]) <= {SAMPLE[0]}
    one = judged()
    found = mislabel_numbers(one, detector_table(one, 2, np.random.default_rng(0)), "vision")
    resolved = found["vision.influence.resolved"]["value"]
    conflicts = found["vision.influence.conflicts"]["value"]
    values, errors = (one.influence[name].values for name in ("value", "se"))
    sure = np.abs(values) > 2 * errors
    assert resolved == pytest.approx(sure.mean())
    assert conflicts == pytest.approx(sure[:, 0].sum() / sure.sum())
    assert found["vision.influence.spearman.gradient"]["value"] == pytest.approx(-1.0)
    assert found["vision.influence.helpful"]["value"] == pytest.approx((values < 0).mean())


@pytest.mark.parametrize(
    "name", ["loss", "el2n", "self_gradient", "kernel_variance", "ekfac", "random_neighbours"]
)
def test_numbers_have_every_detector(name: str) -> None:
    one = judged()
    found = mislabel_numbers(one, detector_table(one, 2, np.random.default_rng(0)), "vision")
    assert found[f"vision.mislabel.auroc.{name}"]["se"] is not None
    assert found["vision.mislabel.flipped"]["value"] == int(FLIPPED.sum())


def test_numbers_have_the_kernels_own_checks() -> None:
    """Catches an attribute under another's name, a bound of two sides, and a lost unit."""
    one = judged()
    found = mislabel_numbers(one, detector_table(one, 2, np.random.default_rng(0)), "vision")
    values = {key.removeprefix("vision.mislabel."): entry["value"] for key, entry in found.items()}
    assert values["mean_excess"] == 0.1
    assert found["vision.mislabel.mean_excess"]["unit"] == "nats"
    assert (values["rhat.max"], values["effective_draws.min"]) == (1.2, 34.0)
    assert (values["chains_dropped"], values["drift.max_z"]) == (2, 1.7)
    assert values["drift.bound"] == pytest.approx(norm.isf(0.05 / 8))
    assert values["classes"] == 2
    assert found["vision.influence.spearman.ekfac"]["n"] == QUERIES


def test_random_neighbours_know_nothing_and_come_from_the_seed() -> None:
    """Catches noise that sees labels, and noise of no seed.

    Without knowledge the area of 900 images, 300 flipped, has a standard deviation of
    sqrt(901 / (12 · 300 · 600)) = 0.0204, less with ties: four of these are allowed.
    """
    count, rng = 900, np.random.default_rng(5)
    one = judged()
    flipped, given = np.arange(count) % 3 == 0, np.arange(count) // 30
    variables = {
        **{name: ("sample", rng.random(count)) for name in ("loss", "el2n", "self_gradient")},
        "given": ("sample", given),
        "penultimate": (("sample", "partner"), np.zeros((count, count), np.float32)),
        "ekfac": (("query", "sample"), np.zeros((1, count))),
    }
    influence = xr.Dataset({"value": variables["ekfac"]})
    many = Judged(xr.Dataset(variables), np.eye(count), np.ones(count), influence, {}, one.attrs)
    values = [detectors(many, 40, np.random.default_rng(9))["random_neighbours"] for _ in range(2)]
    np.testing.assert_array_equal(*values)
    area = detection(values[0], flipped, np.random.default_rng(1)).value
    assert abs(area - 0.5) < 4 * 0.0204


def test_files_of_other_images_are_refused() -> None:
    one = judged()
    check(one)
    with pytest.raises(SchemaError, match="other images"):
        check(one._replace(measured=one.measured.isel(sample=slice(None, None, -1))))
