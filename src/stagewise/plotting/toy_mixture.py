"""The double well: a transition seen as a mixture of two phases."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import draw_zero, legend_above, line_handle, present, select
from stagewise.plotting.palette import MIXTURE

PAIRS = {"same": "slopes of one sign", "opposite": "slopes of opposite sign"}


def draw_mixture(ax: Axes, table: pd.DataFrame) -> None:
    """Draws −BIF, the covariance, of one pair: exact total, its parts, and samples ± 2 se.

    The exact law of the chain, its discretisation included, is what the samples should follow.

    Args:
        ax: Axes to draw on.
        table: Rows of one pair: control, kind, value (BIF sense), se.
    """
    draw_zero(ax)
    for kind in present(("within", "between", "exact", "discrete"), table["kind"]):
        rows, look = select(table, kind=kind).sort_values("control"), MIXTURE[kind]
        ax.plot(rows["control"], -rows["value"], color=look.colour, linestyle=look.line)
    rows, look = select(table, kind="sampled"), MIXTURE["sampled"]
    ax.errorbar(
        rows["control"],
        -rows["value"],
        yerr=2 * rows["se"],
        fmt=look.marker,
        color=look.colour,
        markersize=2.5,
        elinewidth=0.7,
        capsize=0,
    )


def draw_mass(ax: Axes, table: pd.DataFrame) -> None:
    """Draws the mass π of the phase w > 0: exact, of the chain with its step size, and sampled."""
    ax.axhline(0.5, color=palette.FAINT, linewidth=0.5, zorder=0)
    for kind in present(("exact", "discrete"), table["kind"]):
        rows, look = select(table, kind=kind).sort_values("control"), MIXTURE[kind]
        ax.plot(rows["control"], rows["mass"], color=look.colour, linestyle=look.line)
    rows, look = select(table, kind="sampled"), MIXTURE["sampled"]
    ax.plot(rows["control"], rows["mass"], look.marker, color=look.colour, markersize=2)
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 0.5, 1])


def draw_toy_mixture(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column per pair; influence above, mass of a phase below."""
    table = tables["toy_mixture"]
    pairs = present(PAIRS, table["pair"])
    axes = figure.subplots(
        2, len(pairs), sharex=True, sharey="row", height_ratios=[2.2, 1], squeeze=False
    )
    for column, pair in enumerate(pairs):
        rows = select(table, pair=pair)
        draw_mixture(axes[0, column], rows)
        draw_mass(axes[1, column], rows)
        axes[0, column].set_title(PAIRS[pair])
        axes[1, column].set_xlabel("control c (tilt of the double well)")
    axes[0, 0].set_ylabel("−BIF = Cov\nhelps ↑   [nats²]")
    axes[1, 0].set_ylabel("mass π of\nphase w > 0")
    figure.align_ylabels(axes[:, 0])
    kinds = present(MIXTURE, table["kind"])
    legend_above(figure, [line_handle(MIXTURE[kind], marker=True) for kind in kinds])
