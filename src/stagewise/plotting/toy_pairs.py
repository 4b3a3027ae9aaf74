"""The full grid of pairs: every sample's influence on every query over training."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stagewise.plotting.marks import draw_zero, line_handle, present, select
from stagewise.plotting.palette import INFLUENCES, RELATIONS

THREE = ("bif", "trajectory", "leave_one_out")


def draw_pair(ax: Axes, table: pd.DataFrame, scales: Mapping[str, float]) -> None:
    """Draws the influences of one pair, mean over seeds ± se, each over its scale.

    Args:
        ax: Axes to draw on.
        table: Rows of one pair: columns influence, step, value, se, relation.
        scales: Divisor for each influence, the same in every panel of a grid.
    """
    draw_zero(ax)
    for influence in present(THREE, table["influence"]):
        rows, look = select(table, influence=influence).sort_values("step"), INFLUENCES[influence]
        value, se = -rows["value"] / scales[influence], rows["se"] / scales[influence]
        ax.fill_between(rows["step"], value - se, value + se, color=look.colour, alpha=0.3, lw=0)
        ax.plot(rows["step"], value, color=look.colour, linewidth=0.7)
    for relation in present(RELATIONS, table["relation"]):
        ax.set_facecolor((*_rgb(RELATIONS[relation].colour), 0.10))


def draw_toy_pairs(figure: Figure, tables: Mapping[str, pd.DataFrame], tree: str) -> None:
    """Fills ``figure``: row = upweighted sample, column = query, tinted by relation.

    Items stand in the order of the tree, so that mirror images are panels turned by half a turn
    about the centre of the grid. The diagonal, far larger, is left out.
    """
    table = select(tables["toy_pairs"], tree=tree)
    table = table[table["sample"] != table["query"]]
    items = list(dict.fromkeys(select(tables["toy_mds"], tree=tree)["item"]))
    scales = (table["value"].abs().groupby(table["influence"]).max()).to_dict()
    pairs = dict(list(table.groupby(["sample", "query"])))
    axes = figure.subplots(len(items), len(items), sharex=True, sharey=True, squeeze=False)
    for row, sample in enumerate(items):
        for column, query in enumerate(items):
            ax = axes[row, column]
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
            if (sample, query) in pairs:
                draw_pair(ax, pairs[sample, query], scales)
        axes[row, 0].set_ylabel(str(sample), rotation=0, ha="right", va="center")
        axes[0, row].set_title(str(sample), fontweight="normal", loc="center")
    figure.supylabel("sample that is upweighted;  helps ↑ in each panel", fontsize=7)
    figure.suptitle("query;  training step → in each panel", fontsize=7)
    lines = [line_handle(INFLUENCES[i]) for i in present(THREE, table["influence"])]
    tints = [
        Patch(color=RELATIONS[r].colour, alpha=0.2, lw=0, label=RELATIONS[r].label)
        for r in present(RELATIONS, table["relation"])
    ]
    figure.legend(handles=[*lines, *tints], loc="outside lower center", ncols=6)


def _rgb(colour: str) -> tuple[float, float, float]:
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))  # type: ignore[return-value]
