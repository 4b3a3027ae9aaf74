"""The figures of calibration, through the artists they make.

Caught: a ring about a setting that was not chosen, rungs that were not compared drawn as if they
were, minibatches that look like full gradients, a run in another's place, cells of another grid.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stagewise.plotting import palette
from stagewise.plotting.calibration import LOOKS, looks_of
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.tables import read_tables
from support.calibration_tables import CELLS, CHOSEN, PROBLEMS, ROWS, RUNGS

Draw = Callable[[str], Figure]


def lines(ax: Axes, colour: str, line: str | None = None) -> list[Line2D]:
    return [
        found
        for found in ax.lines
        if same_color(found.get_color(), colour) and (line in (None, found.get_linestyle()))
    ]


def rings(ax: Axes) -> list[Line2D]:
    return [found for found in ax.lines if found.get_markersize() == 9]


def test_locality_draws_each_rung_that_was_compared(drawn: Draw) -> None:
    ax = drawn("calibration").axes[0]
    for place, (colour, *_) in enumerate(LOOKS[: len(PROBLEMS)]):
        (line,) = [one for one in lines(ax, colour) if one not in rings(ax)]
        np.testing.assert_array_equal(line.get_xdata(), RUNGS[:-1])
        np.testing.assert_allclose(line.get_ydata(), [0.5 - 0.1 * place, 0.75 - 0.1 * place])


def test_signal_draws_every_rung(drawn: Draw) -> None:
    ax = drawn("calibration").axes[1]
    (line,) = [one for one in lines(ax, LOOKS[0][0]) if one not in rings(ax)]
    np.testing.assert_allclose(line.get_ydata(), [3.0, 1.5, 1.0])
    assert ax.get_xscale() == "log"
    assert ax.get_ylim()[0] == 0


def test_rings_mark_what_was_chosen(drawn: Draw) -> None:
    locality, signal, step = drawn("calibration").axes[:3]
    for ax in (locality, signal):
        assert [list(ring.get_xdata()) for ring in rings(ax)] == [[RUNGS[CHOSEN]]] * 2
    # Per problem one ring about the chosen full gradient, none about the minibatch.
    marked = [list(ring.get_xdata()) for ring in rings(step)]
    assert marked == [[0.0], []] * 2


def test_minibatches_have_open_markers(drawn: Draw) -> None:
    ax = drawn("calibration").axes[2]
    faces = [bars.lines[0].get_markerfacecolor() for bars in ax.containers]
    for place, problem in enumerate(PROBLEMS):
        full, minibatch = faces[2 * place : 2 * place + 2]
        assert same_color(full, looks_of(PROBLEMS)[problem].colour)
        assert same_color(minibatch, "white")


def test_bias_is_drawn_in_percent_with_its_error_against_halvings(drawn: Draw) -> None:
    bars = drawn("calibration").axes[2].containers[0]
    points = bars.lines[0].get_xydata().astype(float)
    np.testing.assert_allclose(points, [[0, 20], [1, 10]])
    heights = [np.ptp(segment[:, 1]) for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(heights, 2.0)


def test_each_run_has_a_place_with_its_agreement_reliability_and_seconds(drawn: Draw) -> None:
    ax = drawn("calibration").axes[3]
    for place, (problem, row, agreement, se, reliability, seconds) in enumerate(ROWS):
        bars = ax.containers[place]
        assert bars.lines[0].get_xydata().tolist() == [[agreement, place]]
        assert same_color(bars.lines[0].get_color(), looks_of(PROBLEMS)[problem].colour)
        np.testing.assert_allclose(
            bars.lines[2][0].get_segments()[0][:, 0], [agreement - se, agreement + se]
        )
        ticks = [line for line in ax.lines if line.get_marker() == "|"]
        assert [reliability, place] in [line.get_xydata().tolist()[0] for line in ticks]
        assert ax.texts[place].get_text() == f"{seconds:.0f} s"
        assert ax.get_yticklabels()[place].get_text() == f"{problem}: {row.replace('_', ' ')}"
    assert ax.yaxis_inverted()


def test_each_grid_has_its_cells_in_order_its_median_and_its_calibrated_run(drawn: Draw) -> None:
    for ax, values in zip(drawn("calibration_grid").axes, CELLS.values(), strict=True):
        *cells, calibrated = values
        (points,) = [line for line in ax.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(points.get_ydata(), sorted(cells))
        (chosen,) = lines(ax, palette.VERMILLION)
        assert set(chosen.get_ydata()) == {calibrated}
        (middle,) = lines(ax, palette.GREY, ":")
        np.testing.assert_allclose(middle.get_ydata(), np.median(cells))
        assert ax.get_ylim()[0] <= min(cells)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c", "d", "e"]])
def test_any_number_of_problems_has_a_look(names: Sequence[str]) -> None:
    looks = looks_of(names)
    assert list(looks) == [look.label for look in looks.values()] == names
    assert len({(look.colour, look.marker) for look in looks.values()}) == min(len(names), 4)


def test_tables_read_from_files_are_drawn_alike(
    drawn: Draw, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    names = FIGURES["calibration"].tables
    for name in names:
        tables[name].to_csv(tmp_path / f"{name}.csv", index=False)
    figure = Figure()
    FIGURES["calibration"].draw(figure, read_tables(names, [tmp_path]))
    for one, other in zip(figure.axes, drawn("calibration").axes, strict=True):
        assert len(one.lines) == len(other.lines)
