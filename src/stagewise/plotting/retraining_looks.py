"""What the figures of retraining share: looks of attributors, rows of intervals."""

from collections.abc import Mapping
from itertools import cycle
from types import MappingProxyType

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from stagewise.plotting import palette
from stagewise.plotting.marks import present
from stagewise.plotting.palette import Look

BROWN = "#8C510A"

METHODS: Mapping[str, Look] = MappingProxyType(
    {
        "bif": Look(palette.BLACK, "-", "o", "Bayesian influence"),
        "bif_correlation": Look(palette.GREY, "--", "o", "the same, as correlation"),
        "exact_ggn": Look(palette.BLUE, "-", "s", "exact (Gauss-Newton)"),
        "exact_hessian": Look(palette.SKY, "--", "D", "exact (Hessian)"),
        "ekfac": Look(palette.VERMILLION, "-", "^", "EK-FAC"),
        "trak": Look(palette.GREEN, "-", "v", "TRAK"),
        "tracin": Look(palette.ORANGE, "-", "P", "TracIn"),
        "gradient_similarity": Look(palette.PURPLE, "-", "X", "gradient similarity"),
        "representation": Look(BROWN, "-.", "h", "penultimate features"),
        "random": Look(palette.GREY, ":", "x", "random"),
    }
)
PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "digits_mlp": "perceptron",
        "digits_cnn": "convolutional network",
        "digits_logistic": "softmax regression",
    }
)
#: Looks of attributors that the table above does not know.
_SPARE = (
    (palette.BLACK, "--", "*"),
    (palette.BLUE, "-.", "p"),
    (palette.VERMILLION, ":", "8"),
)


def looks_of(column: pd.Series) -> dict[str, Look]:
    """Returns how each method in ``column`` is drawn: known ones in their order, others after."""
    found = {name: METHODS[name] for name in present(METHODS, column)}
    others = [name for name in dict.fromkeys(column) if name not in METHODS]
    spare = zip(others, cycle(_SPARE), strict=False)
    return found | {name: Look(*look, spoken(name)) for name, look in spare}


def spoken(name: str) -> str:
    """Returns the words of a name."""
    return name.replace("_", " ")


def title_of(problem: str) -> str:
    """Returns what a problem is called above a panel."""
    return PROBLEMS.get(problem, spoken(problem))


def problems_of(table: pd.DataFrame) -> list[str]:
    """Returns the problems in ``table`` in their order."""
    return list(dict.fromkeys(table["problem"]))


def method_handles(looks: Mapping[str, Look]) -> list[Line2D]:
    """Returns legend entries of the methods' markers."""
    return [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=look.label)
        for look in looks.values()
    ]


def draw_interval(ax: Axes, x: float, row: pd.Series, look: Look, *, across: bool = False) -> None:
    """Draws a value and its interval at ``x``; with ``across`` along the other axis."""
    ends = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    place = ([row["value"]], [x]) if across else ([x], [row["value"]])
    ax.errorbar(
        *place,
        **{"xerr" if across else "yerr": ends},
        color=look.colour,
        marker=look.marker,
        markersize=3.2,
        elinewidth=0.7,
        linestyle="none",
    )


def draw_methods_down(ax: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws one interval for each method, one below the other, names at the left.

    A method that ``rows`` lack keeps its line: panels share names, whichever methods each of them
    has.
    """
    own = rows.set_index("method")
    for place, (name, look) in enumerate(looks.items()):
        if name in own.index:
            draw_interval(ax, place, own.loc[name], look, across=True)
    ax.set_yticks(range(len(looks)), [look.label for look in looks.values()])
    ax.set_ylim(len(looks) - 0.5, -0.5)
    ax.axvline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
