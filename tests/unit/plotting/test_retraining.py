"""Figures of retraining: what is drawn is what the tables say, also of attributors unheard of."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.marks import select
from stagewise.plotting.retraining_looks import METHODS, looks_of
from support.retraining_tables import ALPHAS, CONVEX, KS, SETTINGS
from support.retraining_tables import METHODS as MADE

Tables = dict[str, pd.DataFrame]
Draw = Callable[[str], Figure]


def points(ax: Axes) -> list[tuple[float, float]]:
    """Where the markers with intervals are."""
    lines = [container.lines[0] for container in ax.containers]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


def test_a_method_that_the_figures_do_not_know_gets_a_look_of_its_own() -> None:
    found = looks_of(pd.Series(["mine", "ekfac", "bif", "mine", "yours"]))
    assert list(found) == ["bif", "ekfac", "mine", "yours"]
    assert len({look[:3] for look in found.values()}) == 4
    assert found["ekfac"] == METHODS["ekfac"]


def test_every_score_and_difference_is_drawn(drawn: Draw, tables: Tables) -> None:
    axes = drawn("retraining_lds").axes
    for row, name in enumerate(("retraining_lds", "retraining_difference")):
        for column, problem in enumerate(ALPHAS):
            own = select(tables[name], problem=problem)
            if row:
                own = select(own, first="bif")
            heights = sorted(y for _, y in points(axes[row * len(ALPHAS) + column]))
            np.testing.assert_allclose(heights, np.sort(own["value"]))


def test_ceilings_stand_over_their_alpha(drawn: Draw, tables: Tables) -> None:
    ax = drawn("retraining_lds").axes[0]
    tops = tables["retraining_ceiling"].query("quantity == 'ceiling' and problem == 'digits_mlp'")
    lines = [line for line in ax.lines if np.ptp(line.get_xdata()) == pytest.approx(0.92)]
    found = [(np.mean(line.get_xdata()), line.get_ydata()[0]) for line in lines]
    np.testing.assert_allclose(found, list(enumerate(tops.sort_values("alpha")["value"])))


def test_cost_draws_the_chosen_setting_and_all_others(drawn: Draw, tables: Tables) -> None:
    ax = drawn("retraining_cost").axes[0]
    cost = tables["retraining_cost"].query("problem == 'digits_mlp'")
    wanted = sorted(zip(cost["seconds"], cost["value"], strict=True))
    np.testing.assert_allclose(sorted(points(ax)), wanted)
    assert ax.get_xscale() == "log"
    small = [line for line in ax.lines if line.get_marker() == "."]
    assert sum(len(line.get_xdata()) for line in small) == SETTINGS * len(MADE)


def test_rings_mark_the_chosen_settings(drawn: Draw, tables: Tables) -> None:
    for ax, problem in zip(drawn("retraining_settings").axes, (*ALPHAS, CONVEX), strict=True):
        rings = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
        best = select(tables["retraining_settings"], problem=problem, chosen=True)
        found = sorted(float(line.get_xdata()[0]) for line in rings)
        np.testing.assert_allclose(found, np.sort(best["value"]))


def test_only_a_noisy_problem_has_a_ceiling(drawn: Draw) -> None:
    noisy, convex = drawn("retraining_loo").axes
    assert len(noisy.patches) == 1
    assert len(convex.patches) == 0
    assert len(points(noisy)) == len(points(convex)) == len(MADE)


def without(table: pd.DataFrame, problem: str, *methods: str) -> pd.DataFrame:
    """The rows but those of ``methods`` on ``problem``."""
    return table[~((table["problem"] == problem) & table["method"].isin(methods))]


def names_at_points(ax: Axes, named: Axes) -> list[tuple[str, str]]:
    """For each marker the name of its method, by its look, and that of its line in ``named``."""
    ticks = zip(named.get_yticks(), named.get_yticklabels(), strict=True)
    labels = {place: tick.get_text() for place, tick in ticks}
    looks = {(look.colour, look.marker): look.label for look in METHODS.values()}
    markers = [container.lines[0] for container in ax.containers]
    return [
        (looks[line.get_color(), line.get_marker()], labels[line.get_ydata()[0]])
        for line in markers
    ]


@pytest.mark.parametrize("lacking", ["digits_mlp", CONVEX])
@pytest.mark.parametrize("name", ["retraining_loo", "retraining_mislabel"])
def test_names_stand_at_their_points_where_a_panel_lacks_a_method(
    name: str, lacking: str, tables: Tables
) -> None:
    table = tables[name]
    if name == "retraining_mislabel":
        table = pd.concat([table, table.assign(problem=CONVEX)])
    table = without(table[table["method"] != "my_method"], lacking, "tracin", "ekfac")
    figure = Figure()
    FIGURES[name].draw(figure, {name: table})
    counts = []
    for ax in figure.axes:
        found = names_at_points(ax, figure.axes[0])
        assert all(own == label for own, label in found)
        low, high = sorted(ax.get_ylim())
        assert all(low < y < high for _, y in points(ax))
        counts.append(len(found))
    assert sorted(counts) == [len(METHODS) - 2, len(METHODS)]


def test_removal_curves_rise_where_samples_helped(drawn: Draw, tables: Tables) -> None:
    ax = drawn("retraining_removal").axes[0]
    rows = tables["retraining_removal"].query("problem == 'digits_mlp'")
    curves = [line for line in ax.lines if len(line.get_xdata()) == len(KS)]
    found = sorted(float(line.get_ydata()[-1]) for line in curves)
    np.testing.assert_allclose(found, np.sort(select(rows, k=KS[-1])["value"]))
    assert "helped ↑" in ax.get_ylabel()


def test_detectors_and_signs_are_drawn_whole(drawn: Draw, tables: Tables) -> None:
    for name, value in (("retraining_mislabel", "value"), ("retraining_signs", "value")):
        found = sorted(x for ax in drawn(name).axes for x, _ in points(ax))
        np.testing.assert_allclose(found, np.sort(tables[name][value]))
