"""Time and memory of BIF and EK-FAC against the size of a language model."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import make_logarithmic, select
from stagewise.plotting.palette import Look

LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "bif": Look(palette.BLUE, "-", "o", "BIF"),
        "ekfac": Look(palette.VERMILLION, "--", "s", "EK-FAC"),
    }
)
DEVICES = {"cpu": ("CPU", "make studies"), "gpu": ("GPU", "bench/gpu.py")}
QUANTITIES = {"seconds": "seconds", "memory": "peak memory, MB"}


def draw_scaling(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column for each device, time above and memory below."""
    table = tables["scaling"]
    axes = figure.subplots(2, len(DEVICES), sharex="col", squeeze=False)
    for column, (device, (title, command)) in enumerate(DEVICES.items()):
        for row, (quantity, label) in enumerate(QUANTITIES.items()):
            points = select(table, device=device, quantity=quantity)
            draw_costs(axes[row, column], points, command)
            if column == 0:
                axes[row, column].set_ylabel(label)
        axes[0, column].set_title(title)
        axes[-1, column].set_xlabel("parameters")
    drawn = [ax for ax in axes.flat if ax.get_legend_handles_labels()[0]]
    if drawn:
        drawn[0].legend()


def draw_costs(ax: Axes, points: pd.DataFrame, command: str) -> None:
    """Draws the costs of both methods and their power laws, which straight lines stand for.

    Args:
        ax: Axes to draw on.
        points: Rows method, parameters, cost, fitted; none, or empty cells, where nothing has been
            recorded.
        command: What would record it.
    """
    points = points.dropna()
    if points.empty:
        ax.text(0.5, 0.5, f"not run:\n{command}", transform=ax.transAxes, ha="center", va="center")
        ax.set_xticks([])
        ax.set_yticks([])
        return
    make_logarithmic(ax)
    for method, look in LOOKS.items():
        own = select(points, method=method).sort_values("parameters")
        x = own["parameters"]
        ax.plot(x, own["cost"], look.marker, color=look.colour, label=look.label)
        ax.plot(x, own["fitted"], look.line, color=look.colour, linewidth=0.8)
