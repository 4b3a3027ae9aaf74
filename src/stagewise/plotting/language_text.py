"""Influence drawn on the text itself: which tokens help the prediction of one of them."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stagewise.plotting import palette
from stagewise.plotting.language_looks import runs_of, title_of
from stagewise.plotting.marks import select

MOMENTS = ("before", "peak", "after")
#: Tokens of a line.
COLUMNS = 64
#: Longest piece of a token that fits its cell.
_LETTERS = 2


def draw_text(ax: Axes, rows: pd.DataFrame, columns: int = COLUMNS) -> None:
    """Draws a sequence as cells coloured by −BIF on the query, which is framed.

    Args:
        ax: Axes to draw on.
        rows: One sequence at one step: columns place, text, class, value (BIF sense), query.
            Colours are scaled to the largest influence of another token; induction tokens are
            underlined.
        columns: Tokens of a line.
    """
    rows = rows.sort_values("place")
    query = int(rows["query"].iloc[0])
    others = rows[rows["place"] != query]["value"].abs()
    scale = float(others.max()) or 1.0
    colours, norm = mpl.colormaps[palette.DIVERGING], Normalize(-1, 1)
    for place, text, its_class, value in rows[["place", "text", "class", "value"]].itertuples(
        index=False
    ):
        row, column = divmod(int(place), columns)
        strength = float(np.clip(-value / scale, -1, 1))
        framed = int(place) == query
        ax.add_patch(
            Rectangle(
                (column, row),
                1,
                1,
                facecolor="white" if framed else colours(norm(strength)),
                edgecolor=palette.BLACK if framed else "none",
                linewidth=0.8,
                zorder=2 if framed else 1,
            )
        )
        ink = "white" if abs(strength) > 0.65 and not framed else "black"
        letters = str(text)[:_LETTERS]
        # Without mathtext, to which a dollar or a backslash would mean something.
        ax.text(
            column + 0.5,
            row + 0.5,
            letters,
            ha="center",
            va="center",
            fontsize=4.8,
            color=ink,
            zorder=3,
            parse_math=False,
        )
        if its_class == "induction":
            ax.plot([column + 0.1, column + 0.9], [row + 0.93] * 2, color=ink, lw=0.5, zorder=3)
    lines = int(rows["place"].max()) // columns + 1
    ax.set_xlim(0, min(columns, len(rows)))
    ax.set_ylim(lines, 0)
    ax.set_axis_off()


def draw_language_text(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: for each run one sequence, before, at and after influence's peak."""
    table = tables["language_text"].fillna({"text": ""})
    runs = runs_of(table)[:2]
    axes = figure.subplots(len(runs) * len(MOMENTS), 1, squeeze=False)[:, 0]
    for index, run in enumerate(runs):
        own = select(table, run=run)
        own = select(own, seed=own["seed"].iloc[0])
        own = select(own, sequence=own["sequence"].iloc[0])
        for place, moment in enumerate(MOMENTS):
            rows, ax = select(own, moment=moment), axes[index * len(MOMENTS) + place]
            draw_text(ax, rows)
            ax.set_title(f"{title_of(run)}, {moment}: step {rows['step'].iloc[0]}", loc="left")
    shades = ScalarMappable(Normalize(-1, 1), palette.DIVERGING)
    bar = figure.colorbar(shades, ax=axes.tolist(), pad=0.01, aspect=30, shrink=0.6)
    bar.set_label("helps ↑   −BIF on the framed token, largest = 1")
    bar.set_ticks([-1, 0, 1])
    bar.outline.set_visible(False)
