"""The three influences over training, their timing, and the local posterior against its law."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import (
    STEP_LABEL,
    band_handle,
    draw_seeds,
    draw_transitions,
    draw_zero,
    legend_above,
    line_handle,
    present,
    seeds_of,
    select,
    trees_of,
)
from stagewise.plotting.palette import INFLUENCES, RELATIONS, Look

THREE = ("bif", "trajectory", "leave_one_out")
UNITS = {
    "bif": "nats²",
    "trajectory": "nats",
    "leave_one_out": "nats",
}
BANDS = "modes reach half strength (range over seeds)"


def draw_influence(ax: Axes, table: pd.DataFrame) -> None:
    """Draws one influence: a line per seed and relation, coloured by relation.

    Args:
        ax: Axes to draw on.
        table: Columns seed, relation, step, value (BIF sense; drawn with the sign turned, so
            that up is helpful).
    """
    draw_zero(ax)
    for relation in present(RELATIONS, table["relation"]):
        draw_seeds(ax, select(table, relation=relation), RELATIONS[relation])


def draw_published(ax: Axes, table: pd.DataFrame) -> None:
    """Adds the published closed form of (b), dashed, in the colours of the relations."""
    for relation in present(RELATIONS, table["relation"]):
        look = RELATIONS[relation]._replace(line=(0, (4, 2)))
        draw_seeds(ax, select(table, relation=relation), look)


def draw_toy_influence(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: rows (a), (b), (c), a column per tree, one time axis.

    Each row has its own unit and its own axis; heights compare along a row, never across rows.
    """
    table, transitions = tables["toy_influence"], tables["toy_transitions"]
    trees = trees_of(table)
    axes = figure.subplots(len(THREE), len(trees), sharex="col", sharey="row", squeeze=False)
    for column, tree in enumerate(trees):
        here = select(table, tree=tree)
        for row, influence in enumerate(THREE):
            ax = axes[row, column]
            draw_transitions(ax, select(transitions, tree=tree))
            draw_influence(ax, select(here, influence=influence))
            if influence == "trajectory":
                draw_published(ax, select(here, influence="trajectory_published"))
        axes[0, column].set_title(f"{tree} tree")
        axes[-1, column].set_xlabel(STEP_LABEL)
    for row, influence in enumerate(THREE):
        axes[row, 0].set_ylabel(f"{INFLUENCES[influence].label}\nhelps ↑   [{UNITS[influence]}]")
    figure.align_ylabels(axes[:, 0])
    dashed = Look(palette.BLACK, "--", "", "(b) published closed form")
    handles = [line_handle(RELATIONS[r]) for r in present(RELATIONS, table["relation"])]
    legend_above(figure, [*handles, line_handle(dashed), band_handle(BANDS)], columns=5)


def draw_timing(ax: Axes, table: pd.DataFrame, flips: pd.DataFrame) -> None:
    """Draws (a), (b), (c) of one relation, each divided by its own largest size in this panel.

    Only times and signs can be compared, so the vertical axis carries no unit.

    Args:
        ax: Axes to draw on.
        table: Columns influence, seed, step, value.
        flips: Columns influence, seed, step: where helpful turns harmful; a tick for each.
    """
    draw_zero(ax)
    for index, influence in enumerate(present(THREE, table["influence"])):
        rows, look = select(table, influence=influence), INFLUENCES[influence]
        draw_seeds(ax, rows, look, scale=rows["value"].abs().max() or 1.0)
        steps = select(flips, influence=influence)["step"].dropna()
        height = -1.24 - 0.09 * index
        ax.plot(steps, [height] * len(steps), "|", color=look.colour, markersize=4)
    ax.set_ylim(-1.5, 1.1)
    ax.set_yticks([-1, 0, 1])


def draw_toy_timing(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column per relation, a row per tree, the three influences overlaid."""
    table, transitions, flips = (
        tables[name] for name in ("toy_influence", "toy_transitions", "toy_flips")
    )
    trees, relations = trees_of(table), present(RELATIONS, table["relation"])
    axes = figure.subplots(len(trees), len(relations), sharex=True, sharey=True, squeeze=False)
    for row, tree in enumerate(trees):
        for column, relation in enumerate(relations):
            ax, where = axes[row, column], {"tree": tree, "relation": relation}
            draw_transitions(ax, select(transitions, tree=tree))
            draw_timing(ax, select(table, **where), select(flips, **where))
            if row == 0:
                ax.set_title(RELATIONS[relation].label)
            if row == len(trees) - 1:
                ax.set_xlabel(STEP_LABEL)
        axes[row, 0].set_ylabel(f"{tree} tree\ninfluence / its largest\nhelps ↑")
    flip = Look(palette.BLACK, "", "|", "sign flips")
    handles = [line_handle(INFLUENCES[influence]) for influence in THREE]
    legend_above(figure, [*handles, line_handle(flip, marker=True), band_handle(BANDS)], columns=3)


def draw_law(ax: Axes, table: pd.DataFrame, origin: pd.Series | None = None) -> None:
    """Draws the sampled influence (points ± 2 se) with the laws it is compared with.

    Args:
        ax: Axes to draw on.
        table: Rows of one tree, seed and relation: columns influence, step, value, se.
        origin: Value by step that is taken off every curve, for looking at what is left.
    """
    draw_zero(ax)
    for influence in present(("bif_prior", "bif_strong", "bif_law"), table["influence"]):
        rows, look = _above(table, influence, origin), INFLUENCES[influence]
        ax.plot(rows.index, -rows["value"], color=look.colour, linestyle=look.line, linewidth=1.2)
    rows, look = _above(table, "bif", origin), INFLUENCES["bif"]
    low, high = -rows["value"] - 2 * rows["se"], -rows["value"] + 2 * rows["se"]
    ax.fill_between(rows.index, low, high, color=look.colour, alpha=0.25, linewidth=0, zorder=1)
    ax.plot(rows.index, -rows["value"], ".", color=look.colour, markersize=2, zorder=3)


def _above(table: pd.DataFrame, influence: str, origin: pd.Series | None) -> pd.DataFrame:
    rows = select(table, influence=influence).set_index("step").sort_index()
    if origin is not None:
        rows = rows.assign(value=rows["value"] - origin.reindex(rows.index))
    return rows


def draw_toy_law(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: for each tree the curves, and below them the same less the nβ = 0 law.

    Drawn for the first sampled seed of each tree; errors are those of sampling.
    """
    table = tables["toy_influence"]
    trees, relations = trees_of(table), present(RELATIONS, table["relation"])
    axes = figure.subplots(2 * len(trees), len(relations), sharex=True, squeeze=False)
    for index, tree in enumerate(trees):
        seed, sampled = next(seeds_of(select(table, tree=tree, influence="bif")))
        here = select(table, tree=tree, seed=seed)
        for column, relation in enumerate(present(RELATIONS, sampled["relation"])):
            rows = select(here, relation=relation)
            prior = select(rows, influence="bif_prior").set_index("step")["value"]
            draw_law(axes[2 * index, column], rows)
            draw_law(axes[2 * index + 1, column], rows, origin=prior)
        axes[2 * index, 0].set_ylabel(f"{tree}, seed {seed}\nhelps ↑   [nats²]")
        axes[2 * index + 1, 0].set_ylabel("less the prior\n[nats²]")
    for column, relation in enumerate(relations):
        axes[0, column].set_title(RELATIONS[relation].label)
        axes[-1, column].set_xlabel(STEP_LABEL)
    figure.align_ylabels(axes[:, 0])
    sampled_look = Look(palette.BLACK, "", ".", "BIF, sampled ± 2 se")
    lines = [line_handle(INFLUENCES[k]) for k in ("bif_law", "bif_strong", "bif_prior")]
    legend_above(figure, [line_handle(sampled_look, marker=True), *lines])
