"""What a similarity of images knows of their taxonomy, on eight images laid out by hand.

Caught: pairs of one face that count as a relation, letters that look alike among the unrelated, a
method that is looked up by another's name, draws counted for one chain, a neighbour in the query's
own face, keys of the paper that are missing.
"""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.evaluation.vision import (
    Layout,
    alignment_rows,
    depth_rows,
    layout,
    relation_rows,
)
from stagewise.evaluation.vision_numbers import run_numbers
from stagewise.evaluation.vision_tables import (
    comparison_tables,
    draws_table,
    early_table,
    image_table,
    lead_table,
    matrix_of,
    matrix_table,
    neighbour_table,
    packed,
    sources,
    zooms,
)
from stagewise.plotting.vision_looks import unpacked
from support.vision_files import (
    CLASSES,
    IDS,
    LABELS,
    block,
    kernel,
    kernels,
    recorded,
    similarities,
    tree,
)

COUNTS = dict.fromkeys(CLASSES, 3)
PERMUTATIONS = 20


@pytest.fixture(scope="module")
def of() -> Layout:
    return layout(recorded(), tree(), COUNTS)


def pairs(mask: np.ndarray) -> set[tuple[str, str]]:
    rows, columns = np.nonzero(np.triu(mask, 1))
    return {(IDS[i][5:], IDS[j][5:]) for i, j in zip(rows, columns, strict=True)}


def test_relations_are_between_faces_alone(of: Layout) -> None:
    assert pairs(of.relations["same class"]) == {(f"{x}/one", f"{x}/two") for x in CLASSES}
    assert pairs(of.relations["other case"]) == {("A/one", "a/two"), ("A/two", "a/one")}
    assert pairs(of.relations["other diacritic"]) == {("A/one", "Á/two"), ("A/two", "Á/one")}
    assert len(pairs(of.unrelated)) == 6  # Б with three letters, in two ways


def test_images_of_one_face_are_a_relation_of_their_own(of: Layout) -> None:
    wanted = {(f"{x}/{face}", f"Б/{face}") for x in "AÁa" for face in ("one", "two")}
    assert pairs(of.relations["same face"]) == wanted


def test_letters_that_look_alike_are_neither_unrelated_nor_of_another_script() -> None:
    found = layout(recorded(twins=True), tree(), COUNTS)
    assert pairs(found.relations["looks alike"]) == {("A/one", "Б/two"), ("A/two", "Б/one")}
    assert pairs(found.unrelated) & pairs(found.relations["looks alike"]) == set()
    assert len(pairs(found.unrelated)) == 4


def test_relations_without_a_pair_are_left_out(of: Layout) -> None:
    assert "looks alike" not in of.relations
    assert relation_rows(block(), of, ("looks alike", "same class"))[0]["relation"] == "same class"


def test_without_names_of_relations_the_tree_gives_them() -> None:
    """Photographs: classes below one node are siblings, the far half of the pairs is unrelated."""
    plain = recorded().drop_vars(["relation", "twin"])
    found = layout(plain, tree(), COUNTS)
    siblings = {pair for pair in pairs(found.relations["same parent"]) if pair[0][0] != pair[1][0]}
    assert siblings == {("A/one", "Á/two"), ("A/two", "Á/one")}
    assert pairs(found.unrelated) & siblings == set()


def test_one_class_is_refused() -> None:
    with pytest.raises(SchemaError, match="1 classes are recorded"):
        layout(recorded().isel(sample=[0, 1]), tree(), COUNTS)


def test_a_similarity_that_knows_the_letters_tells_them_and_nothing_else(of: Layout) -> None:
    found = {row["relation"]: row for row in relation_rows(block(), of)}
    assert found["same class"]["value"] == 1.0
    assert found["same class"]["positives"] == 4
    assert found["other case"]["value"] == 0.5
    assert found["same face"]["value"] == 0.5


def test_alignment_between_other_classes_does_not_see_the_letters(of: Layout) -> None:
    rows = alignment_rows(block(0.9, noise=1e-3), of, PERMUTATIONS, seed=1)
    found = {(row["measure"], row["tree"], row["scope"]): row["value"] for row in rows}
    assert found["spearman", "wu_palmer", "all"] > found["spearman", "wu_palmer", "other_classes"]
    nearest = of.similarity["wu_palmer"][np.ix_(LABELS, LABELS)]
    ideal = alignment_rows(nearest, of, PERMUTATIONS, seed=1)
    assert ideal[0]["value"] == pytest.approx(1.0)
    assert ideal[1]["value"] == pytest.approx(1.0)


def test_depths_coarser_than_the_letters_leave_out_the_letter_itself(of: Layout) -> None:
    script = np.where(LABELS == 3, 1, 0)
    knows = np.where(script[:, None] == script, 0.5, 0.0)
    np.fill_diagonal(knows, 1.0)
    rows = depth_rows(knows, of, PERMUTATIONS, seed=1)
    found = {(row["depth"], row["measure"]): row for row in rows}
    assert found[1, "nmi"]["value"] == pytest.approx(1.0)
    assert found[1, "purity"]["value"] == 1.0
    # Б has no other letter of its script, so its two images cannot agree.
    assert found[1, "neighbour"]["value"] == pytest.approx(6 / 8)
    assert found[4, "nmi"]["labels"] == 4


def test_files_are_sorted_by_what_they_call_themselves() -> None:
    found = sources(kernels(), similarities(), IDS)
    assert list(found.main) == [1, 2]
    assert set(found.parts) == {(1, 4), (1, 8), (2, 4), (2, 8)}
    assert list(found.early) == [5]
    assert set(found.baselines) == {"penultimate", "gradient", "pixel", "random_init"}
    assert set(found.early_features) == {5, 9}
    np.testing.assert_allclose(found.main[1], block(noise=0.1, seed=1), atol=1e-6)
    np.testing.assert_allclose(found.parts[1, 4], block(0.5, 0.3, 1), atol=1e-6)
    np.testing.assert_allclose(found.pooled(), (found.main[1] + found.main[2]) / 2)
    assert [(name, seed) for name, seed, _ in found.each()][:4] == [
        ("kernel", 1),
        ("kernel", 2),
        ("prior", None),
        ("wide", None),
    ]


def test_files_that_are_missing_or_of_other_images_are_refused() -> None:
    with pytest.raises(SchemaError, match="prior are needed"):
        sources(kernels()[:2], similarities(), IDS)
    with pytest.raises(SchemaError, match="other images"):
        sources(kernels(), similarities(), IDS[::-1])


def test_draws_are_those_of_all_chains(of: Layout) -> None:
    table = draws_table(of, sources(kernels(), similarities(), IDS), chains=8)
    assert set(table[table["seed"].notna()]["draws"]) == {32, 64}
    assert set(table[table["seed"].isna()]["draws"]) == {128}


def test_development_has_kernel_and_features_at_every_checkpoint(of: Layout) -> None:
    table = early_table(of, sources(kernels(), similarities(), IDS))
    for method in ("kernel", "penultimate"):
        assert set(table[table["method"] == method]["step"]) == {5, 9}


def test_more_draws_are_not_taken_for_more_training(of: Layout) -> None:
    """Caught: the last checkpoint's kernel of all draws beside earlier ones of a few."""
    early = kernel("early_5", {"kernel": block(0.1, 0.2, 4)}, step=5).assign_attrs(draws=4)
    others = [one for one in kernels() if one.attrs["name"] != "early_5"]
    found = sources([*others, early], similarities(), IDS)
    table = early_table(of, found).set_index(["method", "step", "relation"])
    wanted = relation_rows(found.parts[1, 4], of, ("same class",))[0]
    assert table.loc[("kernel", 9, "same class"), "value"] == wanted["value"]
    whole = relation_rows(found.main[1], of, ("same class",))[0]
    assert wanted["value"] != whole["value"]


def test_a_lead_over_itself_has_no_error(of: Layout) -> None:
    """Caught: errors of two methods that are added as if of other letters; a sign turned round."""
    same, worse = block(noise=0.4, seed=1), block(0.3, 0.4, 7)
    files = [kernel(f"main_{seed}", {"kernel": same}) for seed in (1, 2)]
    files += [kernel("prior", {"kernel": same}), kernel("wide", {"kernel": worse})]
    table = lead_table(of, sources(files, similarities(), IDS)).set_index(["method", "quantity"])
    # With four letters, leaving one out leaves some relation without a pair: no error there.
    assert (table.loc["prior"][["value", "se"]].abs().fillna(0.0).to_numpy() < 1e-12).all()
    assert table.loc[("prior", "tree"), "se"] == 0.0
    assert table.loc[("wide", "tree"), "se"] > 0
    row = table.loc[("wide", "same class")]
    own, other = (relation_rows(one, of, ("same class",))[0] for one in (same, worse))
    assert row["value"] == pytest.approx(own["value"] - other["value"])
    assert row["value"] > 0
    assert {"tree", "tree, other classes"} < set(table.loc["prior"].index)


def test_neighbours_are_never_of_the_query_s_own_face(of: Layout) -> None:
    found = sources(kernels(), similarities(), IDS)
    table = neighbour_table(of, found, np.random.default_rng(0))
    assert set(table["method"]) == {"kernel", "gradient", "penultimate"}
    faces = table[["query", "neighbour"]].map(lambda one: one.rpartition("/")[2])
    assert (faces["query"] != faces["neighbour"]).all()
    first = table[(table["method"] == "kernel") & (table["rank"] == 1)]
    assert (first["related"] == "same class").all()


def test_the_matrix_is_in_the_order_of_the_tree(of: Layout) -> None:
    table = matrix_table(of, sources(kernels(), similarities(), IDS))
    own = table[(table["method"] == "kernel") & (table["column"] == 0)]
    groups = own.sort_values("row")["group"].tolist()
    assert groups == ["latin", "latin", "latin", "cyrillic"]


def test_pictures_survive_a_table_s_cell(of: Layout) -> None:
    table = image_table(recorded(), tree(), of)
    assert table["group"].tolist() == ["latin"] * 6 + ["cyrillic"] * 2
    for cell, picture in zip(table["pixels"], recorded()["pixels"].values, strict=True):
        np.testing.assert_allclose(unpacked(cell), picture / 255)
    assert packed(np.zeros((2, 3), np.uint8)).startswith("2:")


def test_zooms_are_dense_corners_of_different_groups() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat([[0, 0], [50, 0], [0, 50], [50, 50]], 40, axis=0)
    spread = np.repeat([0.1, 0.2, 0.3, 10.0], 40)[:, None]
    points = centres + spread * rng.normal(size=(160, 2))
    groups = np.repeat(["a", "a", "b", "c"], 40)
    found = zooms(points, groups)
    assert {one: set(groups[found == one]) for one in (0, 1)} == {0: {"a"}, 1: {"b"}}
    assert set(found) == {-1, 0, 1, 2}


@pytest.fixture(scope="module")
def numbers(of: Layout) -> dict:
    found = sources(kernels(), similarities(), IDS)
    tables = comparison_tables(of, found, PERMUTATIONS, 1)
    tables["vision_draws"] = draws_table(of, found, 8)
    tables["vision_early"] = early_table(of, found)
    tables["vision_leads"] = lead_table(of, found)
    training = xr.Dataset(
        {
            "held_accuracy": ("checkpoint", [0.5, 0.9]),
            "held_accuracy_se": ("checkpoint", [0.1, 0.02]),
            "held_loss": ("checkpoint", [1.0, 0.3]),
        },
        attrs={"parameters": 12},
    )
    return run_numbers(tables, kernels(), found, training, of, "vision")


METHODS = ("kernel", "penultimate", "gradient", "pixel", "random_init")


@pytest.mark.parametrize("method", METHODS)
def test_numbers_have_the_keys_of_every_method_with_their_null(numbers: dict, method: str) -> None:
    for key in (f"alignment.spearman.{method}", f"nmi.depth1.{method}", f"nmi.depth4.{method}"):
        assert numbers[f"vision.{key}"]["value"] is not None
        assert f"vision.{key}_null" in numbers


@pytest.mark.parametrize("key", ["spearman.pixel", "spearman.kernel", "spearman.path.gradient"])
def test_rank_correlations_have_an_error_over_letters(numbers: dict, key: str) -> None:
    """Caught: methods without sampling seeds that stand in the paper without any error."""
    assert numbers[f"vision.alignment.{key}_class_se"]["value"] > 0
    if not key.endswith("kernel"):
        found = numbers[f"vision.alignment.{key}"]["se"]
        assert found == numbers[f"vision.alignment.{key}_class_se"]["value"]


def test_the_narrow_kernel_is_told_from_the_main_ones(numbers: dict, of: Layout) -> None:
    """Caught: the numbers of a main kernel under the name of the narrow one."""
    own = matrix_of(kernels()[-1], "kernel")
    wanted = relation_rows(own, of, ("same class",))[0]
    assert numbers["vision.auroc.same_class.wide"]["value"] == wanted["value"]
    aligned = alignment_rows(own, of, PERMUTATIONS, 1)[0]
    assert numbers["vision.alignment.spearman.wide"]["value"] == pytest.approx(aligned["value"])
    assert numbers["vision.alignment.spearman.wide"]["se"] == pytest.approx(aligned["se"])
    assert numbers["vision.wide.mean_excess"]["value"] == pytest.approx(0.1)


@pytest.mark.parametrize("quantity", ["same_class", "tree", "tree_other_classes"])
def test_leads_are_differences_of_what_is_printed(numbers: dict, quantity: str) -> None:
    names = {"tree": "alignment.spearman", "tree_other_classes": "alignment.spearman.other_classes"}
    name = names.get(quantity, f"auroc.{quantity}")
    own, other = (numbers[f"vision.{name}.{one}"]["value"] for one in ("kernel", "pixel"))
    lead = numbers[f"vision.lead.{quantity}.pixel"]
    assert lead["value"] == pytest.approx(own - other)


def test_errors_of_the_kernel_are_over_sampling_seeds(numbers: dict, of: Layout) -> None:
    found = sources(kernels(), similarities(), IDS)
    each = [relation_rows(one, of, ("same class",))[0]["value"] for one in found.main.values()]
    entry = numbers["vision.auroc.same_class.kernel"]
    assert entry["value"] == pytest.approx(np.mean(each))
    assert entry["n"] == 2
    both = [alignment_rows(one, of, PERMUTATIONS, 1)[0]["value"] for one in found.main.values()]
    entry = numbers["vision.alignment.spearman.kernel"]
    assert entry["se"] == pytest.approx(np.std(both, ddof=1) / np.sqrt(2))


def test_accuracy_is_that_of_the_last_checkpoint(numbers: dict) -> None:
    assert numbers["vision.accuracy.heldout"]["value"] == 0.9
    assert numbers["vision.accuracy.heldout"]["se"] == 0.02
    assert numbers["vision.images"]["value"] == len(IDS)


def test_checks_are_the_worst_of_the_main_runs(numbers: dict) -> None:
    assert numbers["vision.null.max_abs_z"]["value"] == 2.0
    assert numbers["vision.null.bound"]["value"] > 2.0
    assert numbers["vision.draws_per_seed"]["value"] == 64
    assert numbers["vision.kernels.null.max_abs_z"]["value"] >= 2.0
    assert numbers["vision.kernels.null.bound"]["value"] > numbers["vision.null.bound"]["value"]
    assert numbers["vision.prior.mean_excess"]["unit"] == "nats"


def test_a_seed_s_table_says_which_seed(of: Layout) -> None:
    tables = comparison_tables(of, sources(kernels(), similarities(), IDS), PERMUTATIONS, 1)
    own: pd.DataFrame = tables["vision_relations"]
    assert sorted(own[own["method"] == "kernel"]["seed"].unique()) == [1, 2]
    assert kernel("main_3", {"kernel": block()}).attrs["name"] == "main_3"
