"""What happens to induction accuracy where its tokens weigh more for a while."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import STEP_LABEL, legend_above, line_handle, present
from stagewise.plotting.palette import Look

ARMS: Mapping[str, Look] = {
    "never": Look(palette.GREY, "-", "", "left alone"),
    "before": Look(palette.BLUE, "--", "", "raised before the window"),
    "during": Look(palette.VERMILLION, "-", "", "raised in the window"),
    "after": Look(palette.GREEN, "-.", "", "raised after it"),
    "random": Look(palette.PURPLE, ":", "", "raised at random steps"),
}


def draw_arms(ax: Axes, table: pd.DataFrame) -> None:
    """Draws accuracy against step of every arm on one seed, windows as bars along the bottom.

    Args:
        ax: Axes to draw on.
        table: Rows of one seed: arm, step, accuracy, low, high (the arm's window, or NaN).
    """
    for place, arm in enumerate(present(ARMS, table["arm"])):
        look, rows = ARMS[arm], table[table["arm"] == arm].sort_values("step")
        ax.plot(rows["step"], rows["accuracy"], color=look.colour, linestyle=look.line, lw=1.0)
        low, high = rows["low"].iloc[0], rows["high"].iloc[0]
        if low == low:  # not NaN: the training itself has no window
            height = 0.02 + 0.025 * place
            ax.plot(
                [low, high],
                [height, height],
                color=look.colour,
                lw=2.5,
                solid_capstyle="butt",
                transform=ax.get_xaxis_transform(),
            )
    branched = table[table["arm"] != "never"]["step"]
    if len(branched):
        ax.set_xlim(branched.min() - 50, branched.max() + 50)


def draw_language_intervention(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a panel for each seed."""
    table = tables["language_branches"]
    seeds = sorted(table[table["arm"] != "never"]["seed"].unique())
    axes = figure.subplots(1, len(seeds), sharey=True, squeeze=False)[0]
    for ax, seed in zip(axes, seeds, strict=True):
        draw_arms(ax, table[table["seed"] == seed])
        ax.set_title(f"seed {seed}")
        ax.set_xlabel(STEP_LABEL)
    axes[0].set_ylabel("accuracy on induction tokens ↑")
    legend_above(figure, [line_handle(ARMS[arm]) for arm in present(ARMS, table["arm"])])
