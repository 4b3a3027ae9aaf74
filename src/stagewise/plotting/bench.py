"""What a run costs against its sizes: time of a chain-draw, and peak memory."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import make_logarithmic, select

#: Axes of the cost curves and what they are called.
AXES = {
    "chains": "chains",
    "draws": "draws",
    "recorded": "recorded samples",
    "hidden": "hidden units",
}
#: Quantities: colour and label.
QUANTITIES = {
    "each": (palette.BLUE, "ms per chain-draw"),
    "memory": (palette.VERMILLION, "peak memory, MB"),
}


def draw_bench_costs(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column per axis, time above and memory below."""
    table = tables["bench_costs"]
    axes = figure.subplots(2, len(AXES), sharex="col", sharey="row")
    for row, quantity in enumerate(QUANTITIES):
        for column, axis in enumerate(AXES):
            draw_curve(axes[row, column], select(table, axis=axis, quantity=quantity), quantity)
        axes[row, 0].set_ylabel(QUANTITIES[quantity][1])
    for column, label in enumerate(AXES.values()):
        axes[-1, column].set_xlabel(label)


def draw_curve(ax: Axes, points: pd.DataFrame, quantity: str) -> None:
    """Draws one cost curve, both axes logarithmic; says so where nothing has been recorded.

    Args:
        ax: Axes to draw on.
        points: Rows value, cost.
        quantity: Name of what it costs.
    """
    points = points.dropna().sort_values("value")
    make_logarithmic(ax)
    if points.empty:
        ax.text(0.5, 0.5, "not run:\nmake bench", transform=ax.transAxes, ha="center")
        return
    ax.plot(points["value"], points["cost"], marker="o", color=QUANTITIES[quantity][0])
