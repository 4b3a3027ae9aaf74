"""The loss kernel of images at other settings of the sampler, and with more and more draws."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import select
from stagewise.plotting.vision_looks import main_run

#: Quantities of the grid, their titles, and the bounds of their colours.
PANELS = (
    ("auroc same class", "same letter: AUROC", (0.5, 1.0)),
    ("agreement", "agreement with main kernels", (0.0, 1.0)),
    ("mean_excess", "rise of the mean loss [nats]", None),
)
_COLOURS = (palette.BLACK, palette.BLUE, palette.VERMILLION, palette.GREEN, palette.PURPLE)


def draw_vision_sensitivity(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: three quantities over the grid."""
    rows = main_run(tables["vision_sensitivity"])
    axes = figure.subplots(1, 3)
    grid = rows[rows["kind"] == "grid"]
    for ax, (quantity, title, limits) in zip(axes, PANELS, strict=False):
        draw_cells(ax, select(grid, quantity=quantity), limits)
        ax.set_title(title)
    axes[0].set_ylabel("nβ")


def draw_vision_long(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: relations told apart against draws."""
    rows = main_run(tables["vision_long"])
    draw_many(figure.subplots(), rows[rows["kind"] == "long"])


def draw_cells(ax: Axes, rows: pd.DataFrame, limits: tuple[float, float] | None) -> None:
    """Draws one quantity over (nβ, γ), its value in every cell.

    Args:
        ax: Axes to draw on.
        rows: Rows n_beta, localization, value, se.
        limits: Of the colours; None takes those of the values, from 0.
    """
    cells = rows.pivot(index="n_beta", columns="localization", values=["value", "se"])
    value, se = cells["value"].to_numpy(), cells["se"].to_numpy()
    low, high = limits or (0.0, float(np.nanmax(value)) or 1.0)
    ax.imshow(value, origin="lower", cmap=palette.SEQUENTIAL, vmin=low, vmax=high, aspect="auto")
    ax.set_xticks(range(value.shape[1]), [f"{one:g}" for one in cells["value"].columns])
    ax.set_yticks(range(value.shape[0]), [f"{one:g}" for one in cells["value"].index])
    ax.set_xlabel("localization γ")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    for row, column in np.argwhere(np.isfinite(value)):
        text = f"{value[row, column]:.3g}"
        if np.isfinite(se[row, column]):
            text += f"\n± {se[row, column]:.1g}"
        ink = "white" if value[row, column] < (low + high) / 2 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=5.5, color=ink)


def draw_many(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws AUROC of each relation against the draws of one long run, ± two standard errors."""
    rows = rows[rows["quantity"].str.startswith("auroc ")]
    groups = rows.groupby("quantity", sort=False)
    for colour, (quantity, own) in zip(_COLOURS, groups, strict=False):
        own = own.sort_values("draws")
        ax.errorbar(
            own["draws"],
            own["value"],
            yerr=2 * own["se"].fillna(0.0),
            color=colour,
            marker="o",
            markersize=2,
            capsize=1.5,
            label=str(quantity).removeprefix("auroc "),
        )
    ax.axhline(0.5, color=palette.GREY, linewidth=0.5, zorder=0)
    ax.set_xscale("log")
    ax.set_xlabel("draws of one long run")
    ax.set_ylabel("AUROC")
    ax.legend(loc="upper left")
