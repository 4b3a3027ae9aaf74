"""Whether the sampler can be believed: convergence, null, drift, LLC, negative curvature."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import STEP_LABEL, draw_zero, seeds_of, select, trees_of
from stagewise.plotting.palette import Look

RHAT = {
    "rhat_loss_max": Look(palette.BLUE, "", ".", "losses"),
    "rhat_product_max": Look(palette.VERMILLION, "", ".", "centred products"),
}
ESS = {"ess_product_min": Look(palette.VERMILLION, "", ".", "centred products")}
GATES = {
    "null_max_abs_z": Look(palette.GREEN, "", ".", "null"),
    "drift_max_z": Look(palette.PURPLE, "", ".", "drift"),
}
LLC = Look(palette.BLACK, "", ".", "sampled ± 2 se")
LLC_LAW = Look(palette.SKY, "-", "", "second-order law")
LLC_QUANTITIES = ("llc", "llc_se", "llc_law")
CURVATURE = Look(palette.BLACK, "-", "", "each seed")


def draw_quantities(ax: Axes, table: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws diagnostics against step, a point for each seed and checkpoint.

    Args:
        ax: Axes to draw on.
        table: Rows of one tree: seed, step, quantity, value.
        looks: The quantities to draw, and how.
    """
    for quantity, look in looks.items():
        rows = select(table, quantity=quantity)
        ax.plot(
            rows["step"],
            rows["value"],
            look.marker,
            color=look.colour,
            markersize=1.8,
            alpha=0.7,
            label=look.label,
        )


def draw_llc(ax: Axes, table: pd.DataFrame) -> None:
    """Draws the local learning coefficient ± 2 se of the first seed with its second-order value."""
    draw_zero(ax)
    _, first = next(seeds_of(select(table, quantity="llc")))
    # Other quantities are known at other steps, where these would be holes in the line.
    rows = table[table["quantity"].isin(LLC_QUANTITIES)]
    here = select(rows, seed=first["seed"].iloc[0]).pivot(
        index="step", columns="quantity", values="value"
    )
    ax.plot(here.index, here["llc_law"], color=LLC_LAW.colour, label=LLC_LAW.label)
    ax.errorbar(
        here.index,
        here["llc"],
        yerr=2 * here["llc_se"],
        fmt=LLC.marker,
        color=LLC.colour,
        markersize=2,
        elinewidth=0.6,
        label=LLC.label,
    )


def draw_negative_curvature(ax: Axes, table: pd.DataFrame) -> None:
    """Draws nβ·max(0, −λ_min)/γ of every seed against step, and 1, below which the law exists."""
    ax.axhline(1.0, color=palette.GREY, linewidth=0.5, linestyle=":")
    for index, (_, rows) in enumerate(seeds_of(select(table, quantity="negative_curvature"))):
        ax.plot(
            rows["step"],
            rows["value"],
            color=CURVATURE.colour,
            linestyle=CURVATURE.line,
            linewidth=0.7,
            alpha=0.7,
            label=CURVATURE.label if index == 0 else None,
        )


def draw_toy_diagnostics(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: gates, LLC and negative curvature in rows, a column per tree."""
    table = tables["toy_diagnostics"]
    trees = trees_of(table)
    axes = figure.subplots(5, len(trees), sharex="col", sharey="row", squeeze=False)
    for column, tree in enumerate(trees):
        rows = select(table, tree=tree)
        for ax, looks in zip(axes[:3, column], (RHAT, ESS, GATES), strict=True):
            draw_quantities(ax, rows, looks)
        draw_llc(axes[3, column], rows)
        draw_negative_curvature(axes[4, column], rows)
        axes[0, column].axhline(1.01, color=palette.GREY, linewidth=0.5, linestyle=":")
        axes[0, column].set_title(f"{tree} tree")
        axes[4, column].set_xlabel(STEP_LABEL)
    # Trees share the scale. A limit set before all are drawn would cut off the later ones.
    for ax in axes[[1, 2, 4], 0]:
        ax.set_ylim(bottom=0)
    axes[4, 0].set_ylim(top=max(1.1, axes[4, 0].get_ylim()[1]))
    labels = (
        "R-hat, largest",
        "bulk ESS,\nsmallest",
        "largest z\n(null: |z|)",
        "LLC λ̂",
        "nβ|λ$_{\\mathrm{min}}$|/γ",
    )
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    for ax in axes[:, -1]:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), borderaxespad=0)
    figure.align_ylabels(axes[:, 0])
