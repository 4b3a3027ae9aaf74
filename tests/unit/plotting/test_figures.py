"""Every figure, through the artists it makes: what is drawn is what the table says."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.catalogue import FIGURES
from support.toy_tables import CURVATURE_STEPS, ITEMS, SEEDS, STEPS, TREES

Tables = dict[str, pd.DataFrame]
Draw = Callable[[str], Figure]

#: Figures that show no influence, which would have to say which way is up.
UNSIGNED = (
    "toy_modes",
    "toy_sweep",
    "toy_agreement",
    "toy_diagnostics",
    "calibration",
    "calibration_grid",
    "conformance",
    "bench_costs",
    "scaling",
    "language_scores",
    "language_llc",
    "language_cancel",
    "multitask_kernel",
    "multitask_separation",
    "retraining_lds",
    "retraining_cost",
    "retraining_settings",
    "retraining_loo",
    "retraining_signs",
    "retraining_mislabel",
    "retraining_sensitivity",
    "retraining_speed",
    "vision_sheet",
    "vision_map",
    "vision_neighbours",
    "vision_alignment",
    "vision_clusters",
    "vision_matrix",
    "vision_early",
    "vision_sensitivity",
    "vision_long",
    "vision_influence",  # its columns are headed "helps" and "harms"
    "vision_detectors",
)
#: Pictures and maps, whose places have no unit.
WITHOUT_AXES = (
    "vision_sheet",
    "vision_map",
    "vision_neighbours",
    "vision_matrix",
    "vision_influence",
)
#: Words one of which says what a horizontal axis is.
AXES = (
    "step",
    "γ",
    "control",
    "cells",
    "chains",
    "shared",
    "draws",
    "depth",
    "AUROC",
    "parameters",
    "α",
    "seconds",
    "score",
    "correlation",
    "removed",
    "share",
)


def curves(ax: Axes, colour: str, line: str | None = None) -> list[np.ndarray]:
    """Heights of the lines over STEPS that have a colour, and a style if one is given."""
    return [
        np.asarray(found.get_ydata())
        for found in ax.lines
        if same_color(found.get_color(), colour)
        and len(found.get_xdata()) == len(STEPS)
        and (line is None or found.get_linestyle() == line)
    ]


def rows_of(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        table = table[table[column] == value]
    return table


@pytest.mark.parametrize("name", FIGURES)
def test_every_panel_says_what_its_axes_are(name: str, drawn: Draw) -> None:
    figure = drawn(name)
    assert figure.axes
    texts = [text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text"))]
    assert name in WITHOUT_AXES or any(word in text for text in texts for word in AXES)
    if name not in UNSIGNED:
        assert any("↑" in text for text in texts), "nothing says which way is helpful"


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_the_text(name: str, drawn: Draw) -> None:
    width, height = drawn(name).get_size_inches()
    assert width <= 6.3
    assert height <= 7


def test_influence_turns_the_sign_and_draws_every_seed(drawn: Draw, tables: Tables) -> None:
    ax = drawn("toy_influence").axes[0]
    table = rows_of(tables["toy_influence"], tree="balanced", influence="bif")
    for relation, look in palette.RELATIONS.items():
        found = curves(ax, look.colour)
        assert len(found) == len(SEEDS)
        for seed, heights in zip(SEEDS, found, strict=True):
            wanted = -rows_of(table, relation=relation, seed=seed)["value"].to_numpy()
            np.testing.assert_array_equal(heights, wanted)


def test_published_form_stands_in_the_trajectory_panel_alone(drawn: Draw) -> None:
    figure = drawn("toy_influence")
    dashed = [sum(line.get_linestyle() == "--" for line in ax.lines) for ax in figure.axes]
    per_panel = len(palette.RELATIONS) * len(SEEDS)
    assert dashed == [0, 0, per_panel, per_panel, 0, 0]


def test_transitions_are_marked_once_for_each_mode(drawn: Draw, tables: Tables) -> None:
    ax = drawn("toy_influence").axes[0]
    spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches]
    table = rows_of(tables["toy_transitions"], tree="balanced").groupby("mode")["step"]
    np.testing.assert_allclose(spans, list(zip(table.min(), table.max(), strict=True)))


def test_timing_is_scaled_within_each_panel(drawn: Draw) -> None:
    for ax in drawn("toy_timing").axes:
        for influence in ("bif", "trajectory", "leave_one_out"):
            found = curves(ax, palette.INFLUENCES[influence].colour)
            assert len(found) == len(SEEDS)
            assert np.max(np.abs(found)) == pytest.approx(1)


def test_timing_marks_each_sign_flip(drawn: Draw, tables: Tables) -> None:
    ax = drawn("toy_timing").axes[0]
    marks = [found for found in ax.lines if found.get_marker() == "|"]
    assert len(marks) == 3
    where = {"tree": "balanced", "relation": "sibling", "influence": "bif"}
    np.testing.assert_array_equal(
        marks[0].get_xdata(), rows_of(tables["toy_flips"], **where)["step"]
    )
    distant = [found for found in drawn("toy_timing").axes[2].lines if found.get_marker() == "|"]
    assert [len(found.get_xdata()) for found in distant] == [0, 0, 0]


def test_law_figure_shows_what_is_left_beyond_the_prior(drawn: Draw, tables: Tables) -> None:
    above, below = drawn("toy_law").axes[0], drawn("toy_law").axes[3]
    where = {"tree": "balanced", "seed": 0, "relation": "sibling"}
    table = rows_of(tables["toy_influence"], **where)
    value = {k: rows_of(table, influence=f"bif_{k}")["value"].to_numpy() for k in ("law", "prior")}
    law = palette.INFLUENCES["bif_law"].colour
    np.testing.assert_allclose(curves(above, law)[0], -value["law"])
    np.testing.assert_allclose(curves(below, law)[0], value["prior"] - value["law"])
    np.testing.assert_array_equal(curves(below, palette.INFLUENCES["bif_prior"].colour)[0], 0)


def test_law_figure_has_bands_of_two_standard_errors(drawn: Draw, tables: Tables) -> None:
    band = drawn("toy_law").axes[0].collections[0].get_paths()[0].vertices
    where = {"tree": "balanced", "seed": 0, "relation": "sibling", "influence": "bif"}
    value = -rows_of(tables["toy_influence"], **where)["value"]
    assert band[:, 1].max() == pytest.approx((value + 2e-5).max())
    assert band[:, 1].min() == pytest.approx((value - 2e-5).min())


def test_modes_draw_strength_and_prediction_of_every_seed(drawn: Draw) -> None:
    panels = [ax for ax in drawn("toy_modes").axes if ax.get_label() != "<colorbar>"]
    assert len(panels) == 6
    for ax in panels:
        assert len(ax.lines) == 2 * 2 * len(SEEDS)
        assert len(curves(ax, palette.BLACK)) == 2 * len(SEEDS)


@pytest.mark.parametrize("name", ["toy_pairs", "toy_pairs_unbalanced"])
def test_pairs_leave_out_the_diagonal_and_share_one_scale(name: str, drawn: Draw) -> None:
    axes = np.reshape(drawn(name).axes, (len(ITEMS), len(ITEMS)))
    largest = 0.0
    for row, column in np.ndindex(axes.shape):
        found = curves(axes[row, column], palette.INFLUENCES["bif"].colour)
        assert len(found) == (row != column)
        largest = max([largest, *(np.abs(heights).max() for heights in found)])
    assert largest == pytest.approx(1)


def test_pairs_are_tinted_by_relation(drawn: Draw) -> None:
    axes = np.reshape(drawn("toy_pairs").axes, (len(ITEMS), len(ITEMS)))
    tints = {to_hex(axes[i, j].get_facecolor()) for i, j in ((0, 1), (0, 2), (1, 2))}
    assert tints <= {to_hex(look.colour) for look in palette.RELATIONS.values()}
    assert len(tints) == 3


def test_windows_stand_at_their_centres(drawn: Draw, tables: Tables) -> None:
    ax = drawn("toy_windows").axes[0]
    first = next(found for found in ax.lines if same_color(found.get_color(), palette.BLUE))
    where = {"tree": "balanced", "relation": "sibling", "seed": 0}
    rows = rows_of(tables["toy_windows"], **where)
    np.testing.assert_array_equal(first.get_xdata(), rows["window_start"] + 50)
    np.testing.assert_array_equal(first.get_ydata(), rows["at_end"])


@pytest.mark.parametrize(("marker", "extreme"), [("^", np.argmin), ("v", np.argmax)])
def test_windows_mark_the_most_helpful_and_most_harmful_step_of_each_seed(
    marker: str, extreme: Callable[[pd.Series], int], drawn: Draw, tables: Tables
) -> None:
    ax = drawn("toy_windows").axes[0]
    marks = next(found for found in ax.lines if found.get_marker() == marker)
    where = {"tree": "balanced", "relation": "sibling", "influence": "bif"}
    rows = rows_of(tables["toy_influence"], **where)
    wanted = [STEPS[extreme(seed["value"])] for _, seed in rows.groupby("seed")]
    np.testing.assert_array_equal(marks.get_xdata(), wanted)


def test_sweep_prints_and_colours_each_cell(drawn: Draw, tables: Tables) -> None:
    ax = drawn("toy_sweep").axes[0]
    cells = rows_of(tables["toy_sweep"], target="law").pivot(
        index="n_beta", columns="localization", values="r"
    )
    np.testing.assert_array_equal(ax.images[0].get_array(), cells)
    assert len(ax.texts) == cells.size
    assert ax.texts[0].get_text().startswith(f"{cells.iloc[0, 0]:.3f}")
    assert ax.images[0].get_clim() == (-1, 1)


def test_mixture_turns_the_sign_of_lines_and_points(drawn: Draw, tables: Tables) -> None:
    ax = drawn("toy_mixture").axes[0]
    rows = rows_of(tables["toy_mixture"], pair="same")
    total = next(found for found in ax.lines if same_color(found.get_color(), palette.BLACK))
    np.testing.assert_array_equal(total.get_ydata(), -rows_of(rows, kind="exact")["value"])
    points = ax.containers[0].lines[0]
    np.testing.assert_array_equal(points.get_ydata(), -rows_of(rows, kind="sampled")["value"])


def test_agreement_has_a_panel_for_each_family_and_leaves_out_other_rows(drawn: Draw) -> None:
    axes = drawn("toy_agreement").axes
    assert [ax.get_title().partition("\n")[0] for ax in axes[:2]] == [
        "quadratic model",
        "real loss",
    ]
    assert len(axes) == 4  # row "main" belongs to no family
    assert len(axes[1].lines) == 1 + 3 * len(TREES)
    assert axes[3].get_yscale() == "log"


def test_diagnostics_draw_every_seed_and_checkpoint(drawn: Draw) -> None:
    axes = drawn("toy_diagnostics").axes
    assert len(axes) == 5 * len(TREES)
    points = [found for found in axes[0].lines if found.get_marker() == "."]
    assert [len(found.get_xdata()) for found in points] == [len(SEEDS) * len(STEPS)] * 2


def test_diagnostics_draw_the_curvature_of_each_seed_and_its_limit(
    drawn: Draw, tables: Tables
) -> None:
    axes = np.reshape(drawn("toy_diagnostics").axes, (5, len(TREES)))
    limit, *seeds = axes[4, 0].lines
    assert set(limit.get_ydata()) == {1.0}
    assert len(seeds) == len(SEEDS)
    for seed, line in zip(SEEDS, seeds, strict=True):
        where = {"tree": "balanced", "seed": seed, "quantity": "negative_curvature"}
        rows = rows_of(tables["toy_diagnostics"], **where)
        np.testing.assert_array_equal(line.get_ydata(), rows["value"])
    assert len(CURVATURE_STEPS) > len(STEPS)
    assert len(curves(axes[3, 0], palette.SKY)) == 1, "the law's LLC has holes"


def test_no_diagnostic_leaves_its_panel_where_a_later_tree_is_larger(tables: Tables) -> None:
    table = tables["toy_diagnostics"]
    later = table["tree"] == TREES[-1]
    larger = table.assign(value=table["value"].where(~later, 3 * table["value"] + 2))
    figure = Figure()
    FIGURES["toy_diagnostics"].draw(figure, {"toy_diagnostics": larger})
    for row in (1, 2, 4):
        first, *_, last = np.reshape(figure.axes, (5, len(TREES)))[row]
        low, high = first.get_ylim()
        assert low == 0
        largest = max(np.nanmax(line.get_ydata()) for line in (*first.lines, *last.lines))
        assert largest < high, row


def test_sweep_has_a_row_of_panels_for_each_relaxation(tables: Tables) -> None:
    sweep = tables["toy_sweep"]
    finer = sweep.assign(relaxation=0.01, step_size=0.01 / sweep["localization"])
    figure = Figure()
    FIGURES["toy_sweep"].draw(figure, {"toy_sweep": pd.concat([sweep, finer])})
    labels = [ax.get_ylabel() for ax in figure.axes if "nβ" in ax.get_ylabel()]
    assert [label.split("(")[1] for label in labels] == ["εγ = 0.01)", "εγ = 0.1)"]


def test_representations_keep_an_item_in_one_colour(drawn: Draw) -> None:
    first, second = drawn("toy_mds").axes[1:3]
    colours = [[to_hex(line.get_color()) for line in curves_of(ax)] for ax in (first, second)]
    assert colours[0] == colours[1]
    assert len(set(colours[0])) == len(ITEMS)


def curves_of(ax: Axes) -> list:
    return [line for line in ax.lines if len(line.get_xdata()) == len(STEPS)]


def test_relations_look_alike_in_every_figure() -> None:
    looks = [*palette.RELATIONS.values()]
    assert len({look.colour for look in looks}) == len(looks)
    assert len({look.marker for look in looks}) == len(looks)
