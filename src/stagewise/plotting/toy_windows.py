"""What dropping an item during a window only does to its relatives' loss."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import (
    draw_seeds,
    draw_zero,
    legend_above,
    line_handle,
    present,
    select,
    trees_of,
)
from stagewise.plotting.palette import RELATIONS, Look

AT_END = Look(palette.BLUE, "-", "o", "at the window's end")
LATER = Look(palette.ORANGE, "--", "", "largest from then on")
PEAKS = {
    1: Look(palette.BLACK, "", "^", "most helpful"),
    -1: Look(palette.BLACK, "", "v", "most harmful"),
}
CURVE = Look(palette.GREY, "-", "", "influence (a), scaled to the panel")


def draw_windows(ax: Axes, windows: pd.DataFrame, influence: pd.DataFrame) -> None:
    """Draws the loss change against the window's centre over the curve of influence (a).

    The curve of each seed is scaled to the largest effect in the panel, so that times and signs
    compare and heights do not; marks at the top stand where it is most helpful and most harmful.

    Args:
        ax: Axes to draw on.
        windows: Rows of one tree and relation: seed, window_start, window_end, at_end, peak
            (positive: the sample was helping).
        influence: Rows of the same relation, influence bif: seed, step, value.
    """
    draw_zero(ax)
    centred = windows.assign(centre=(windows["window_start"] + windows["window_end"]) / 2)
    for column, look in (("at_end", AT_END), ("peak", LATER)):
        for _, rows in centred.sort_values("centre").groupby("seed"):
            ax.plot(
                rows["centre"],
                rows[column],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markersize=1.8,
                linewidth=0.7,
            )
    unit = influence["value"].abs().max() / max(windows["at_end"].abs().max(), 1e-300)
    draw_seeds(ax, influence, CURVE, scale=unit or 1.0)
    for sign, look in PEAKS.items():
        # BIF is negative where the sample helps.
        peaks = [
            rows.loc[(sign * rows["value"]).idxmin(), "step"]
            for _, rows in influence.groupby("seed")
        ]
        ax.plot(
            peaks,
            [0.97] * len(peaks),
            look.marker,
            color=look.colour,
            transform=ax.get_xaxis_transform(),
            alpha=0.6,
            clip_on=False,
        )


def draw_toy_windows(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column per relation, a row per tree."""
    windows = tables["toy_windows"]
    influence = select(tables["toy_influence"], influence="bif")
    trees, relations = trees_of(windows), present(RELATIONS, windows["relation"])
    axes = figure.subplots(len(trees), len(relations), sharex="row", squeeze=False)
    for row, tree in enumerate(trees):
        for column, relation in enumerate(relations):
            ax, where = axes[row, column], {"tree": tree, "relation": relation}
            draw_windows(ax, select(windows, **where), select(influence, **where))
            if row == 0:
                ax.set_title(RELATIONS[relation].label, pad=9)
            if row == len(trees) - 1:
                ax.set_xlabel("centre of the window [step]")
        axes[row, 0].set_ylabel(f"{tree} tree\nloss change [nats]\nitem was helping ↑")
    legend_above(
        figure, [line_handle(look, marker=True) for look in (AT_END, LATER, CURVE, *PEAKS.values())]
    )
