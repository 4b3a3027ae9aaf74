"""Mode strengths against theory, for three initializations."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stagewise.plotting import palette
from stagewise.plotting.marks import STEP_LABEL, legend_above, present, select, shades, trees_of


def draw_modes(ax: Axes, table: pd.DataFrame) -> None:
    """Draws strength (a line per seed and mode) and prediction (dashes) of one tree and init.

    Args:
        ax: Axes to draw on.
        table: Columns seed, mode, step, strength, predicted.
    """
    modes = sorted(table["mode"].unique())
    colours = dict(zip(modes, shades(len(modes)), strict=True))
    for (_, mode), rows in table.groupby(["seed", "mode"]):
        rows = rows.sort_values("step")
        ax.plot(rows["step"], rows["strength"], color=colours[mode], linewidth=0.9, alpha=0.8)
    for (_, _), rows in table.groupby(["seed", "mode"]):
        rows = rows.sort_values("step")
        ax.plot(
            rows["step"],
            rows["predicted"],
            color=palette.BLACK,
            linewidth=0.7,
            linestyle=(0, (1, 3)),
            zorder=3,
        )


def draw_toy_modes(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a row per tree, a column per initialization, from table toy_modes."""
    table = tables["toy_modes"]
    trees, inits = trees_of(table), present(palette.INITS, table["init"])
    axes = figure.subplots(len(trees), len(inits), sharex=True, sharey="row", squeeze=False)
    for row, tree in enumerate(trees):
        for column, init in enumerate(inits):
            ax = axes[row, column]
            draw_modes(ax, select(table, tree=tree, init=init))
            if row == 0:
                ax.set_title(palette.INITS[init])
            if row == len(trees) - 1:
                ax.set_xlabel(STEP_LABEL)
        axes[row, 0].set_ylabel(f"{tree} tree\nmode strength")
        _mode_bar(figure, list(axes[row]), table["mode"].nunique())
    measured = Line2D([], [], color=palette.BLUE, label="measured, each seed")
    predicted = Line2D(
        [], [], color=palette.BLACK, linestyle=(0, (1, 3)), linewidth=0.7, label="predicted"
    )
    legend_above(figure, [measured, predicted])


def _mode_bar(figure: Figure, axes: list[Axes], count: int) -> None:
    bounds = [k + 0.5 for k in range(count + 1)]
    mapping = ScalarMappable(BoundaryNorm(bounds, count), ListedColormap(shades(count)))
    bar = figure.colorbar(mapping, ax=axes, ticks=range(1, count + 1), pad=0.01, aspect=22)
    bar.minorticks_off()
    bar.set_label("mode, strongest first")
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
