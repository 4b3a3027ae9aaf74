"""The loss kernel of two tasks: matrices and maps, and separation against what is shared."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from stagewise.plotting import palette
from stagewise.plotting.marks import draw_zero, line_handle, present, select
from stagewise.plotting.palette import Look

TASKS: Mapping[int, Look] = MappingProxyType(
    {
        0: Look(palette.BLUE, "", "o", "first task"),
        1: Look(palette.VERMILLION, "", "^", "second task"),
    }
)
RELATIONS: Mapping[str, Look] = MappingProxyType(
    {
        "within_related": Look(palette.BLACK, ":", "s", "one task, number in common"),
        "within": Look(palette.BLACK, "-", "o", "one task, all pairs"),
        "cross": Look(palette.PURPLE, "--", "^", "across tasks"),
    }
)
AREAS: Mapping[str, Look] = MappingProxyType(
    {
        "auroc": Look(palette.BLACK, "-", "o", "all pairs"),
        "auroc_unrelated": Look(palette.ORANGE, "--", "^", "nothing in common"),
    }
)
BATCHES: Mapping[str, Look] = MappingProxyType(
    {
        "full": Look(palette.BLACK, "", "o", "full"),
        "stratified": Look(palette.GREEN, "", "s", "by task"),
        "mixed": Look(palette.VERMILLION, "", "^", "mixed"),
    }
)
SHARED_LABEL = "shared parameters [%]"
#: Correlations beyond this share of the entries off the diagonal end the colour scale.
QUANTILE = 0.995


def draw_matrix(ax: Axes, table: pd.DataFrame, first: int, limit: float) -> AxesImage:
    """Draws one kernel as an image, the diagonal left blank.

    Args:
        ax: Axes to draw on.
        table: Rows of one fraction: row, column, value.
        first: Number of samples of the first task, which stand first.
        limit: End of the colour scale.
    """
    matrix = table.pivot(index="row", columns="column", values="value").to_numpy().copy()
    np.fill_diagonal(matrix, np.nan)
    image = ax.imshow(matrix, cmap=palette.DIVERGING, vmin=-limit, vmax=limit, aspect="equal")
    for line in (ax.axhline, ax.axvline):
        line(first - 0.5, color=palette.BLACK, linewidth=0.5)
    middles = [(first - 1) / 2, (first + len(matrix) - 1) / 2]
    ax.set_xticks(middles, ["first task", "second task"])
    ax.set_yticks(middles, ["first task", "second task"], rotation=90, va="center")
    ax.tick_params(length=0)
    return image


def draw_map(ax: Axes, table: pd.DataFrame, limit: float) -> None:
    """Draws the samples of one fraction in the plane, coloured by task."""
    for task, look in TASKS.items():
        rows = select(table, task=task)
        ax.plot(rows["x"], rows["y"], look.marker, color=look.colour, markersize=2.5, alpha=0.8)
    ax.set_xlim(-limit, limit)
    ax.set_ylim(-limit, limit)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal")
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


def draw_multitask_kernel(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a matrix for each fraction, all on one scale, and its map below."""
    kernel, plane = tables["multitask_kernel"], tables["multitask_map"]
    shared = sorted(kernel["shared"].unique())
    off = kernel.loc[kernel["row"] != kernel["column"], "value"].abs()
    limit, reach = float(off.quantile(QUANTILE)), 1.1 * plane[["x", "y"]].abs().to_numpy().max()
    axes = figure.subplots(2, len(shared), squeeze=False)
    for column, fraction in enumerate(shared):
        own = select(plane, shared=fraction)
        first = int((own["task"] == 0).sum())
        image = draw_matrix(axes[0, column], select(kernel, shared=fraction), first, limit)
        axes[0, column].set_title(f"{100 * fraction:.0f}% shared")
        draw_map(axes[1, column], own, reach)
        axes[1, column].set_xlabel("first coordinate")
    axes[1, 0].set_ylabel("second coordinate")
    bar = figure.colorbar(image, ax=list(axes[0]), shrink=0.8, extend="both")
    bar.set_label("posterior correlation $R$")
    handles = [line_handle(look, marker=True) for look in TASKS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def draw_curves(ax: Axes, table: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws quantities against the shared fraction: every seed as a point, means as lines.

    Args:
        ax: Axes to draw on.
        table: Columns shared, seed, quantity, value.
        looks: By quantity.
    """
    for place, (quantity, look) in enumerate(looks.items()):
        rows = select(table, quantity=quantity).dropna(subset=["value"])
        by_fraction = rows.groupby("shared")["value"]
        mean, error = by_fraction.mean(), by_fraction.sem()
        at = 100 * mean.index.to_numpy() + 1.2 * (place - (len(looks) - 1) / 2)
        ax.errorbar(
            at,
            mean,
            yerr=2 * error,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            elinewidth=0.8,
            label=look.label,
        )
    ax.set_xlabel(SHARED_LABEL)
    ax.set_xticks(100 * np.sort(table["shared"].unique()))


def draw_coupling(ax: Axes, table: pd.DataFrame) -> None:
    """Draws the mean correlation across tasks of every seed, by kind of batch."""
    draw_zero(ax)
    kinds = present(BATCHES, table["batches"])
    for place, kind in enumerate(kinds):
        look, values = BATCHES[kind], select(table, batches=kind)["value"]
        jitter = np.linspace(-0.15, 0.15, len(values))
        ax.plot(place + jitter, values, look.marker, color=look.colour, markersize=2.5, alpha=0.6)
        ax.errorbar(
            place + 0.3,
            values.mean(),
            yerr=2 * values.sem(),
            color=look.colour,
            marker="_",
            markersize=8,
        )
    ax.set_xticks(range(len(kinds)), [BATCHES[kind].label for kind in kinds])
    ax.set_xlim(-0.5, len(kinds) - 0.3)
    ax.set_xlabel("batches, nothing shared")
    ax.set_ylabel("mean correlation across tasks")


def draw_multitask_separation(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: areas under the curve, mean correlations, coupling by batches."""
    table = tables["multitask_separation"]
    areas, means, coupling = figure.subplots(1, 3, width_ratios=[1, 1, 0.8])
    areas.axhline(0.5, color=palette.GREY, linewidth=0.5, zorder=0)
    draw_curves(areas, table, AREAS)
    areas.set_ylabel("AUROC, same task or not")
    areas.set_ylim(0.4, 1.02)
    areas.legend(loc="lower left")
    draw_zero(means)
    draw_curves(means, table, RELATIONS)
    means.set_ylabel("mean correlation")
    low, high = means.get_ylim()
    means.set_ylim(low, high + 0.25 * (high - low))  # room for the legend above the curves
    means.legend(loc="upper right")
    draw_coupling(coupling, tables["multitask_coupling"])
