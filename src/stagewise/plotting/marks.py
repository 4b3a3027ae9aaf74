"""What several figures share: curves of every seed, transitions, zero lines, legends."""

from collections.abc import Iterable, Iterator, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from stagewise.plotting import palette
from stagewise.plotting.palette import Look

TREES = ("balanced", "unbalanced")
STEP_LABEL = "training step"


def trees_of(table: pd.DataFrame) -> list[str]:
    """Returns the trees in ``table``, the balanced one first, others in their own order."""
    present = list(dict.fromkeys(table["tree"]))
    return [t for t in TREES if t in present] + [t for t in present if t not in TREES]


def present(keys: Iterable[str], column: pd.Series) -> list[str]:
    """Returns those of ``keys`` that occur in ``column``, in the order of ``keys``."""
    found = set(column)
    return [key for key in keys if key in found]


def seeds_of(table: pd.DataFrame) -> Iterator[tuple[object, pd.DataFrame]]:
    """Yields each seed with its rows in order of step; rows without a seed form one group."""
    for seed, rows in table.groupby("seed", dropna=False):
        yield seed, rows.sort_values("step")


def draw_seeds(ax: Axes, table: pd.DataFrame, look: Look, scale: float = 1.0) -> None:
    """Draws −value against step, one thin line for each seed: the spread is seen, not summed up."""
    for _, rows in seeds_of(table):
        ax.plot(
            rows["step"],
            -rows["value"] / scale,
            color=look.colour,
            linestyle=look.line,
            linewidth=0.8,
            alpha=0.8,
        )


def draw_zero(ax: Axes) -> None:
    """Draws the line between helping and hurting."""
    ax.axhline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)


def draw_transitions(ax: Axes, transitions: pd.DataFrame) -> None:
    """Marks, for each mode, the steps from the first seed to the last that reach half strength.

    Modes of nearly equal strength overlap, and their bands add up to a darker one.
    """
    for _, rows in transitions.dropna(subset=["step"]).groupby("mode"):
        ax.axvspan(
            rows["step"].min(), rows["step"].max(), color=palette.GREY, alpha=0.13, lw=0.4, zorder=0
        )


def select(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Returns the rows of ``table`` whose columns have the given values."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def line_handle(look: Look, *, marker: bool = False) -> Line2D:
    """Returns a legend entry for ``look``."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.line or "none",
        marker=look.marker if marker else "",
        label=look.label,
    )


def band_handle(label: str) -> Line2D:
    """Returns a legend entry for the grey bands of `draw_transitions`."""
    return Line2D([], [], color=palette.GREY, alpha=0.3, linewidth=5, label=label)


def legend_above(figure: Figure, handles: Sequence[Line2D], columns: int | None = None) -> None:
    """Puts one legend for all panels above them."""
    figure.legend(handles=handles, loc="outside upper center", ncols=columns or len(handles))


def make_logarithmic(ax: Axes) -> None:
    """Makes both axes logarithmic; between powers of ten the lower one has no names to collide."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())


def shades(count: int) -> list[tuple[float, ...]]:
    """Returns ``count`` ordered colours; the palest end of the map is left out for legibility."""
    colours = mpl.colormaps[palette.SEQUENTIAL]
    return [colours(0.88 * k / max(count - 1, 1)) for k in range(count)]
