"""Is the difference between sampled influence and second-order law noise, or a remainder."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stagewise.plotting import palette
from stagewise.plotting.marks import legend_above, line_handle, present, select, shades, trees_of
from stagewise.plotting.palette import RELATIONS, Look

#: Sampling rows that belong together, by the first word of their names.
FAMILIES = {
    "quadratic": "quadratic model",
    "exact": "real loss",
    "ratio": "real loss",
    "recentred": "recentred",
}
TREE_LINES = {"balanced": "-", "unbalanced": "--"}


def draw_quantiles(ax: Axes, table: pd.DataFrame, colours: Mapping[float, object]) -> None:
    """Draws quantiles of z = (sampled − law) / se against those of noise, a line for each γ.

    Args:
        ax: Axes to draw on.
        table: Rows of one family: tree, localization, expected, observed.
        colours: Colour of each localization.
    """
    span = [table["expected"].min(), table["expected"].max()]
    ax.plot(span, span, color=palette.GREY, linewidth=1.6, alpha=0.5)
    for (localization, tree), rows in table.groupby(["localization", "tree"]):
        rows = rows.sort_values("expected")
        ax.plot(
            rows["expected"],
            rows["observed"],
            color=colours[localization],
            linestyle=TREE_LINES.get(tree, ":"),
        )


def draw_remainder(ax: Axes, table: pd.DataFrame) -> None:
    """Draws 1 − r against γ on logarithmic axes, ± 2 se, coloured by relation.

    Args:
        ax: Axes to draw on.
        table: Rows of one family: tree, localization, relation, r, se.
    """
    for (tree, relation), rows in table.groupby(["tree", "relation"]):
        rows, look = rows.sort_values("localization"), RELATIONS[relation]
        ax.errorbar(
            rows["localization"],
            1 - rows["r"],
            yerr=2 * rows["se"].fillna(0),
            color=look.colour,
            linestyle=TREE_LINES.get(tree, ":"),
            marker=look.marker,
            elinewidth=0.7,
        )
    ax.set_xscale("log")
    ax.set_yscale("log", nonpositive="clip")
    ticks = np.sort(table["localization"].unique())
    ax.set_xticks(ticks, [f"{value:g}" for value in ticks])
    ax.xaxis.minorticks_off()
    ax.set_xlim(ticks[0] / 2, ticks[-1] * 2)


def draw_toy_agreement(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column per family of sampling rows; quantiles of z above, 1 − r below.

    The quantiles have their own vertical axis in each panel; the grey line, where noise alone
    would lie, has slope one in all of them.
    """
    z, agreement = (_with_family(tables[name]) for name in ("toy_z", "toy_agreement"))
    families = present(FAMILIES, agreement["family"])
    shown = agreement[agreement["family"].isin(families)]
    gammas = sorted(shown["localization"].unique())
    colours = dict(zip(gammas, shades(len(gammas)), strict=True))
    axes = figure.subplots(2, len(families), squeeze=False)
    for column, family in enumerate(families):
        rows = select(shown, family=family)
        draw_quantiles(axes[0, column], select(z, family=family), colours)
        draw_remainder(axes[1, column], rows)
        axes[0, column].set_title(f"{FAMILIES[family]}\n{_temperature(rows)}")
        axes[0, column].set_xlabel("z of noise")
        axes[1, column].set_xlabel("localization γ")
    # Limits from the values: a bar that reaches past zero would stretch the axis without end.
    distance = (1 - shown["r"].dropna()).clip(lower=1e-9)
    for ax in axes[1]:
        ax.set_ylim(distance.min() / 3, distance.max() * 3)
        ax.tick_params(labelleft=ax is axes[1, 0])
    axes[0, 0].set_ylabel("z observed")
    axes[1, 0].set_ylabel("1 − r with the law")
    levels = [Line2D([], [], color=colours[g], label=f"γ = {g:g}") for g in gammas]
    relations = [
        line_handle(RELATIONS[r], marker=True) for r in present(RELATIONS, shown["relation"])
    ]
    styles = [
        line_handle(Look(palette.BLACK, TREE_LINES.get(t, ":"), "", f"{t} tree"))
        for t in trees_of(shown)
    ]
    legend_above(figure, [*levels, *relations, *styles], columns=5)


def _with_family(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(family=table["row"].str.partition("_")[0])


def _temperature(rows: pd.DataFrame) -> str:
    if (rows["n_beta"] == rows["localization"]).all() and rows["n_beta"].nunique() > 1:
        return "nβ = γ"
    return "nβ = " + ", ".join(f"{value:g}" for value in sorted(rows["n_beta"].unique()))
