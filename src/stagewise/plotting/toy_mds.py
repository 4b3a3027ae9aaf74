"""Hidden representations over training, under the influence curves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from stagewise.plotting import palette
from stagewise.plotting.marks import (
    STEP_LABEL,
    band_handle,
    draw_transitions,
    draw_zero,
    line_handle,
    present,
    select,
    shades,
    trees_of,
)
from stagewise.plotting.palette import RELATIONS
from stagewise.plotting.toy_influence import draw_influence

SNAPSHOTS = 4


def draw_branching(ax: Axes, table: pd.DataFrame, coordinate: str) -> None:
    """Draws one coordinate of every item against step, coloured along the order of the tree.

    Args:
        ax: Axes to draw on.
        table: Rows of one tree and seed: columns item, step and ``coordinate``.
        coordinate: ``x`` or ``y``.
    """
    draw_zero(ax)
    colours = _item_colours(table)
    for item, rows in table.groupby("item", sort=False):
        rows = rows.sort_values("step")
        ax.plot(rows["step"], rows[coordinate], color=colours[item], linewidth=0.9)


def draw_snapshot(ax: Axes, table: pd.DataFrame, step: int, limit: float) -> None:
    """Draws the items in the plane of the two coordinates at one step, within ±limit."""
    colours = _item_colours(table)
    for row in select(table, step=step).itertuples():
        ax.plot(row.x, row.y, "o", color=colours[row.item], alpha=0.8)
    ax.set_xlim(-limit, limit)
    ax.set_ylim(-limit, limit)
    ax.set_title(f"step {step}", fontweight="normal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def draw_toy_mds(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: for each tree, influence (a), both coordinates on its time axis, snapshots.

    Drawn for the first seed. The snapshots stand at evenly spaced steps between the first
    transition and just after the last; all of a tree share one scale.
    """
    trees = trees_of(tables["toy_mds"])
    columns = np.atleast_1d(figure.subfigures(1, len(trees)))
    for subfigure, tree in zip(columns, trees, strict=True):
        here = {name: select(table, tree=tree) for name, table in tables.items()}
        seed = min(here["toy_mds"]["seed"])
        _draw_tree(subfigure, {name: select(table, seed=seed) for name, table in here.items()})
        subfigure.suptitle(f"{tree} tree, seed {seed}", fontsize=7.5, fontweight="bold")
    relations = present(RELATIONS, tables["toy_influence"]["relation"])
    items = Line2D([], [], linestyle="none", marker="o", color=shades(3)[1])
    items.set_label("items, coloured along the tree")
    handles = [*(line_handle(RELATIONS[r]) for r in relations), items]
    figure.legend(
        handles=[*handles, band_handle("modes reach half strength")],
        loc="outside lower center",
        ncols=5,
    )


def _draw_tree(figure: SubFigure, tables: Mapping[str, pd.DataFrame]) -> None:
    mds, transitions = tables["toy_mds"], tables["toy_transitions"]
    grid = figure.add_gridspec(4, SNAPSHOTS, height_ratios=[1.2, 1, 1, 0.75])
    top = figure.add_subplot(grid[0, :])
    draw_influence(top, select(tables["toy_influence"], influence="bif"))
    top.set_ylabel("(a) BIF, helps ↑\n[nats²]")
    curves = [top]
    for row, coordinate in enumerate("xy", start=1):
        ax = figure.add_subplot(grid[row, :], sharex=top)
        draw_branching(ax, mds, coordinate)
        ax.set_ylabel(f"MDS\ncoordinate {row}")
        curves.append(ax)
    steps = _snapshot_steps(mds, transitions)
    for ax in curves:
        draw_transitions(ax, transitions)
        ax.vlines(steps, 0, 0.06, transform=ax.get_xaxis_transform(), color=palette.BLACK, lw=0.8)
    curves[0].tick_params(labelbottom=False)
    curves[1].tick_params(labelbottom=False)
    curves[2].set_xlabel(f"{STEP_LABEL}  (ticks inside: steps below)")
    limit = 1.15 * mds.loc[mds["step"].isin(steps), ["x", "y"]].abs().to_numpy().max()
    for index, step in enumerate(steps):
        draw_snapshot(figure.add_subplot(grid[3, index]), mds, step, limit)
    figure.align_ylabels(curves)


def _item_colours(table: pd.DataFrame) -> dict[object, tuple[float, ...]]:
    items = list(dict.fromkeys(table["item"]))
    return dict(zip(items, shades(len(items)), strict=True))


def _snapshot_steps(mds: pd.DataFrame, transitions: pd.DataFrame) -> list[int]:
    """Returns the recorded steps nearest to evenly spaced ones around the transitions."""
    recorded = np.sort(mds["step"].unique())
    first, last = transitions["step"].min(), transitions["step"].max()
    wanted = np.linspace(first, min(1.2 * last, recorded[-1]), SNAPSHOTS)
    return [int(recorded[np.argmin(np.abs(recorded - step))]) for step in wanted]
