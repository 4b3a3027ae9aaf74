"""How similarities of images agree with the taxonomy, against draws, and as a matrix."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from stagewise.plotting import palette
from stagewise.plotting.marks import legend_above, select
from stagewise.plotting.vision_looks import METHODS, bare, main_run, signed_colours

_OFFSET = 0.12
#: Least distance of names beside a panel, as a share of its height: two lines of their text.
_LINES = 0.12


def draw_vision_alignment(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: relations and depths by method, and relations against draws."""
    relations, depths = (main_run(tables[f"vision_{name}"]) for name in ("relations", "depths"))
    draws = main_run(tables["vision_draws"])
    axes = figure.subplots(1, 3, width_ratios=[1.5, 1.25, 0.85])
    draw_relations(axes[0], relations)
    draw_depths(axes[1], depths, "neighbour")
    axes[1].set_ylabel("nearest image of another class\nshares the label")
    draw_draws(axes[2], draws)
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=look.label)
        for name, look in METHODS.items()
        if name in set(relations["method"])
    ]
    legend_above(figure, handles, columns=4)


def draw_relations(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws AUROC by relation, methods side by side.

    Args:
        ax: Axes to draw on.
        rows: Rows relation, method, seed, value, se; several seeds are several points.
    """
    names = list(dict.fromkeys(rows["relation"]))
    methods = [name for name in METHODS if name in set(rows["method"])]
    for index, method in enumerate(methods):
        own = select(rows, method=method)
        x = own["relation"].map(names.index) + _OFFSET * (index - (len(methods) - 1) / 2)
        _points(ax, x, own)
    ax.axhline(0.5, color=palette.GREY, linewidth=0.5, zorder=0)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n", 1) for name in names])
    ax.set_ylabel("AUROC against pairs that share nothing")


def _points(ax: Axes, x: pd.Series, own: pd.DataFrame) -> None:
    """Draws one method's values, with bars of two standard errors over classes."""
    look = METHODS[own["method"].iloc[0]]
    ax.errorbar(
        x,
        own["value"],
        yerr=2 * own["se"].fillna(0.0),
        color=look.colour,
        marker=look.marker,
        linestyle="none",
        markersize=2.8,
        elinewidth=0.6,
    )


def draw_depths(ax: Axes, rows: pd.DataFrame, measure: str) -> None:
    """Draws one measure by depth of the tree; ticks are what chance gives.

    Args:
        ax: Axes to draw on.
        rows: Rows measure, depth, labels, method, seed, value, se, null.
        measure: Which.
    """
    rows = rows[rows["measure"] == measure]
    depths = sorted(set(rows["depth"]))
    methods = [name for name in METHODS if name in set(rows["method"])]
    for index, method in enumerate(methods):
        own = select(rows, method=method)
        x = own["depth"].map(depths.index) + _OFFSET * (index - (len(methods) - 1) / 2)
        _points(ax, x, own)
    for place, depth in enumerate(depths):
        chance = rows[rows["depth"] == depth]["null"].mean()
        ax.hlines(chance, place - 0.4, place + 0.4, color=palette.GREY, linewidth=0.8)
    labels = [int(rows[rows["depth"] == depth]["labels"].iloc[0]) for depth in depths]
    ax.set_xticks(
        range(len(depths)),
        [f"depth {depth}\n{count}" for depth, count in zip(depths, labels, strict=True)],
    )
    ax.set_ylim(0, 1.02)


def draw_draws(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws AUROC against draws: each seed, and all of them together as stars, named at the right.

    Args:
        ax: Axes to draw on.
        rows: Rows seed, draws, relation, value; without a seed where all are together.
    """
    colours = (palette.BLACK, palette.BLUE, palette.VERMILLION, palette.GREEN, palette.PURPLE)
    names = []
    for colour, (relation, own) in zip(colours, rows.groupby("relation", sort=False), strict=False):
        for _, one in own.dropna(subset=["seed"]).groupby("seed"):
            one = one.sort_values("draws")
            ax.plot(one["draws"], one["value"], color=colour, linewidth=0.8, marker="o", ms=1.8)
        pooled = own[own["seed"].isna()]
        ax.plot(pooled["draws"], pooled["value"], color=colour, marker="*", linestyle="none", ms=5)
        names.append((pooled["value"].iloc[0], str(relation), colour))
    ax.axhline(0.5, color=palette.GREY, linewidth=0.5, zorder=0)
    low, high = ax.get_ylim()  # of everything that is drawn: what comes later would change it
    places = apart([value for value, _, _ in names], _LINES * (high - low))
    for place, (_, relation, colour) in zip(places, names, strict=True):
        ax.annotate(
            relation.replace(" ", "\n", 1),
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(2, 0),
            textcoords="offset points",
            fontsize=6,
            va="center",
            color=colour,
            annotation_clip=False,
        )
    ax.set_xscale("log")
    ax.margins(x=0.06)  # whole stars
    ax.set_xlabel("draws")
    ax.set_ylabel("AUROC, loss kernel")


def apart(values: Sequence[float], gap: float) -> np.ndarray:
    """Returns the places nearest to ``values`` that lie ``gap`` apart, in the same order."""
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    places = np.empty(len(values))
    places[order] = isotonic_regression(np.asarray(values, float)[order] - steps).x + steps
    return places


def draw_vision_clusters(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: rank correlation with the tree, and clusters by depth."""
    alignment, depths = (main_run(tables[f"vision_{name}"]) for name in ("alignment", "depths"))
    axes = figure.subplots(1, 3)
    draw_spearman(axes[0], alignment)
    for ax, measure, label in zip(
        axes[1:], ("nmi", "purity"), ("clusters: NMI", "clusters: purity"), strict=True
    ):
        draw_depths(ax, depths, measure)
        ax.set_ylabel(label)
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="none", label=look.label)
        for name, look in METHODS.items()
        if name in set(alignment["method"])
    ]
    legend_above(figure, handles, columns=4)


def draw_spearman(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws rank correlations with Wu-Palmer similarity; bars are twice the null's deviation."""
    rows = select(rows, measure="spearman", tree="wu_palmer")
    scopes = {"all": "all pairs", "other_classes": "other classes"}
    methods = [name for name in METHODS if name in set(rows["method"])]
    for place, scope in enumerate(scopes):
        for index, method in enumerate(methods):
            own = select(rows, scope=scope, method=method)
            x = place + _OFFSET * (index - (len(methods) - 1) / 2)
            _points(ax, pd.Series(x, own.index), own)
            ax.errorbar(
                x, own["null"].mean(), yerr=2 * own["null_sd"].mean(), color=palette.FAINT, zorder=0
            )
    ax.axhline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
    ax.set_xticks(range(len(scopes)), list(scopes.values()))
    ax.set_ylabel("rank correlation with the tree")


def draw_vision_matrix(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: mean similarity of classes in the order of the tree, two methods."""
    rows = main_run(tables["vision_matrix"])
    methods = [name for name in METHODS if name in set(rows["method"])]
    for ax, method in zip(figure.subplots(1, len(methods), squeeze=False)[0], methods, strict=True):
        own = select(rows, method=method)
        matrix = own.pivot(index="row", columns="column", values="value").to_numpy()
        off = matrix[~np.eye(len(matrix), dtype=bool)]
        middle, reach = (
            float(np.median(off)),
            float(np.quantile(np.abs(off - np.median(off)), 0.99)),
        )
        shown = ax.imshow(
            matrix, cmap=signed_colours(), vmin=middle - reach, vmax=middle + reach, rasterized=True
        )
        groups = own.drop_duplicates("row").sort_values("row")["group"].to_numpy()
        edges = np.flatnonzero(groups[1:] != groups[:-1]) + 0.5
        for edge in edges:
            ax.axhline(edge, color=palette.BLACK, linewidth=0.4)
            ax.axvline(edge, color=palette.BLACK, linewidth=0.4)
        starts = [0, *(edges + 0.5).astype(int)]
        ends = [*(edges + 0.5).astype(int), len(groups)]
        middles = [(low + high) / 2 for low, high in zip(starts, ends, strict=True)]
        names = [str(groups[low]).rpartition("/")[2].lower() for low in starts]
        bare(ax)
        ax.set_yticks(middles, names, rotation=90, va="center")
        ax.tick_params(length=0)
        ax.set_title(METHODS[method].label)
        figure.colorbar(shown, ax=ax, shrink=0.7, label="mean similarity of two classes")
