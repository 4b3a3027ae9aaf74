"""The figures of language models, through the artists they make.

Caught: a sign that is not turned, a transition of another run, errors left out, a reference that
looks like the influence, tokens in another's place, a query that is not framed.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stagewise.config.token_classes import CLASSES as ALL_CLASSES
from stagewise.plotting import palette
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.language_influence import PANELS, shown_pairs
from stagewise.plotting.language_looks import CLASS_LOOKS, REFERENCES
from support.language_tables import CLASSES, MEASURED, SEEDS, STEPS, TEXT, TRANSITION, helps

Draw = Callable[[str], Figure]
Tables = dict[str, pd.DataFrame]


def curves(ax: Axes, colour: str, steps: np.ndarray) -> list[np.ndarray]:
    return [
        np.asarray(found.get_ydata())
        for found in ax.lines
        if same_color(found.get_color(), colour) and len(found.get_xdata()) == len(steps)
    ]


def test_every_class_has_a_look_of_its_own() -> None:
    assert set(CLASS_LOOKS) == set(ALL_CLASSES)
    assert len({(look.colour, look.line) for look in CLASS_LOOKS.values()}) == len(ALL_CLASSES)


def test_influence_turns_the_sign_of_every_seed(drawn: Draw) -> None:
    ax = drawn("language_influence").axes[0]
    assert ax.get_title() == "induction · induction"
    found = curves(ax, REFERENCES["influence"].colour, STEPS)
    assert len(found) == len(SEEDS)
    for seed, heights in zip(SEEDS, found, strict=True):
        wanted = helps("influence", "induction", "induction", seed)
        np.testing.assert_allclose(heights, wanted)


def test_influence_stands_beside_its_references(drawn: Draw) -> None:
    ax = drawn("language_influence").axes[0]
    for kind in ("prior", "null"):
        (heights,) = curves(ax, REFERENCES[kind].colour, STEPS)
        np.testing.assert_allclose(heights, helps(kind, "induction", "induction", 0))


def test_bands_are_two_standard_errors(drawn: Draw) -> None:
    band = drawn("language_influence").axes[0].collections[1].get_paths()[0].vertices
    wanted = helps("influence", "induction", "induction", 0)
    assert band[:, 1].max() == pytest.approx(wanted.max() + 4e-4)
    assert band[:, 1].min() == pytest.approx(wanted.min() - 4e-4)


def test_transitions_are_those_of_the_panel_s_run(drawn: Draw) -> None:
    axes = drawn("language_influence").axes
    for ax, run in ((axes[0], "triggers"), (axes[PANELS - 1], "text")):
        marked = sorted(
            float(line.get_xdata()[0])
            for line in ax.lines
            if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
        )
        wanted = [step for (own, _), step in TRANSITION.items() if own == run]
        assert marked == [step for step in wanted if np.isfinite(step)]
    assert "text" in axes[PANELS - 1].get_title()


def test_a_run_without_induction_shows_what_it_has(tables: Tables) -> None:
    table = tables["language_curves"]
    without = table[(table["first"] != "induction") & (table["second"] != "induction")]
    assert shown_pairs(without)[0] == ("triggers", "left delimiter", "right delimiter")
    alone = without[(without["first"] == "word part") & (without["run"] == "text")]
    assert shown_pairs(alone[alone["second"] == "word part"]) == [
        ("text", "word part", "word part")
    ]


def test_scores_have_a_column_for_each_run(drawn: Draw, tables: Tables) -> None:
    axes = np.reshape(drawn("language_scores").axes, (4, 2))
    assert [ax.get_title() for ax in axes[0]] == ["run “triggers”", "run “text”"]
    for column, run in enumerate(CLASSES):
        for name in CLASSES[run]:
            assert len(curves(axes[0, column], CLASS_LOOKS[name].colour, MEASURED)) >= 1
        accuracy = curves(axes[1, column], CLASS_LOOKS["induction"].colour, MEASURED)
        assert len(accuracy) == len(SEEDS)
    assert len(curves(axes[2, 1], palette.BLACK, MEASURED)) == 0  # not measured
    best = curves(axes[3, 0], palette.VERMILLION, MEASURED)[0]
    np.testing.assert_allclose(best, MEASURED / 1000)


def test_no_curve_leaves_its_panel_where_a_later_run_is_larger(tables: Tables) -> None:
    scores = tables["language_scores"]
    later = scores["run"] == "text"
    largest = scores[~later].assign(run="text", value=3 * scores[~later]["value"])
    drawn = {"language_scores": pd.concat([scores[~later], largest])}
    figure = Figure()
    FIGURES["language_scores"].draw(figure, drawn | {"language_claims": tables["language_claims"]})
    axes = np.reshape(figure.axes, (4, 2))
    for ax in axes[2:].flat:
        low, high = ax.get_ylim()
        assert low == 0
        assert (
            max(np.max(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) > 2) < high
        )


def test_llc_draws_all_tokens_for_every_seed(drawn: Draw) -> None:
    axes = np.reshape(drawn("language_llc").axes, (2, 2))
    for ax in axes[0]:
        assert len(curves(ax, palette.BLACK, STEPS)) == len(SEEDS)


def test_heat_turns_the_sign_and_marks_what_is_seen(drawn: Draw) -> None:
    ax = drawn("language_heat").axes[2]
    assert ax.get_title() == "after: step 200"
    image = np.asarray(ax.images[0].get_array())
    assert image.max() == pytest.approx(25e-3)
    assert image.min() > 0
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert len(dots) == (len(CLASSES["triggers"]) - 1) * len(CLASSES["triggers"])


def test_text_frames_the_query_and_colours_the_rest(drawn: Draw) -> None:
    ax = drawn("language_text").axes[0]
    cells = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert len(cells) == len(TEXT)
    framed = [cell for cell in cells if cell.get_edgecolor() == to_rgba("black")]
    assert [cell.get_xy() for cell in framed] == [(8, 0)]
    helpful, harmful = (cells[place].get_facecolor() for place in (0, 7))
    assert helpful[0] > helpful[2]  # value below zero: red
    assert harmful[0] < harmful[2]
    assert [text.get_text() for text in ax.texts][2:5] == [" ", "$", "b"]


def test_cancellation_is_ordered_and_marks_changes_of_sign(drawn: Draw, tables: Tables) -> None:
    ax = drawn("language_cancel").axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    table = tables["language_cancel"]
    own = table[(table["run"] == "triggers") & (table["method"] == "bif")]
    mean = own.groupby(["first", "second"])["cancelled"].mean().sort_values(ascending=False)
    assert labels[0] == " · ".join(mean.index[0])
    assert sum(label.endswith("*") for label in labels) == 1
    points = ax.containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(np.asarray(points, float), mean.to_numpy()[: len(labels)])


def test_tables_of_one_run_are_enough(tables: Tables) -> None:
    names = [name for name in FIGURES if name.startswith("language_")]
    for name in names:
        if not set(FIGURES[name].tables) <= set(tables):
            continue
        own = {key: tables[key] for key in FIGURES[name].tables}
        alone = {k: t[t["run"] == "text"] if "run" in t else t for k, t in own.items()}
        figure = Figure()
        FIGURES[name].draw(figure, alone)
        assert figure.axes
