"""Influence of training images on held-out ones, and what finds flipped labels."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stagewise.plotting import palette
from stagewise.plotting.marks import select
from stagewise.plotting.vision_looks import DETECTORS, bare, main_run, tinted, unpacked

_TITLES = {"bif": "Bayesian influence", "ekfac": "EK-FAC"}


def draw_vision_influence(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a row for each query; most helpful and most harmful images, two methods."""
    rows = main_run(tables["vision_influence"])
    ax = figure.subplots()
    helps, harms = (int(select(rows, side=side)["rank"].max()) for side in ("helps", "harms"))
    block = helps + harms + 1.6
    queries = list(dict.fromkeys(rows["query"]))
    for y, query in enumerate(queries):
        own = select(rows, query=query)
        _tile(ax, 0, y, own["query_pixels"].iloc[0], palette.BLACK)
        for column, method in enumerate(_TITLES):
            for side, start in (("helps", 0.0), ("harms", helps + 0.5)):
                for one in select(own, method=method, side=side).itertuples(index=False):
                    x = 1.7 + column * block + start + one.rank - 1
                    colour = palette.BLUE if side == "helps" else palette.VERMILLION
                    _tile(ax, x, y, one.pixels, colour)
                    if one.conflict:
                        _frame(ax, x, y, palette.BLACK, "-")
                    elif one.flipped:
                        _frame(ax, x, y, palette.ORANGE, ":")
    for column, title in enumerate(_TITLES.values()):
        middle = 1.7 + column * block + (helps + harms - 0.5) / 2
        ax.text(middle, -0.95, title, ha="center", weight="bold", fontsize=7)
        left = 1.7 + column * block
        ax.text(left + (helps - 1) / 2, -0.6, "helps", ha="center", fontsize=6)
        ax.text(left + helps + 0.5 + (harms - 1) / 2, -0.6, "harms", ha="center", fontsize=6)
    ax.set_xlim(-0.7, 1.7 + 2 * block - 1.2)
    ax.set_ylim(len(queries) - 0.4, -1.2)
    ax.set_aspect("equal")
    bare(ax)


def draw_vision_detectors(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: how well each detector finds flipped labels."""
    rows = main_run(tables["vision_detectors"]).set_index("detector")
    names = [name for name in DETECTORS if name in rows.index]
    ax = figure.subplots()
    places = range(len(names))
    kernels = [name.startswith(("kernel", "cross")) for name in names]
    colours = [palette.BLACK if kernel else palette.BLUE for kernel in kernels]
    ax.barh(places, rows.loc[names, "value"], color=colours, height=0.55, alpha=0.85)
    ax.errorbar(
        rows.loc[names, "value"],
        places,
        xerr=2 * rows.loc[names, "se"],
        color=palette.GREY,
        linestyle="none",
        capsize=2,
    )
    ax.axvline(0.5, color=palette.GREY, linewidth=0.5)
    ax.set_yticks(places, [DETECTORS[name] for name in names])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("AUROC of flipped against true labels (± 2 se)")


def _tile(ax: Axes, x: float, y: float, pixels: str, colour: str) -> None:
    extent = (x - 0.45, x + 0.45, y + 0.45, y - 0.45)
    ax.imshow(tinted(unpacked(pixels), colour), extent=extent)


def _frame(ax: Axes, x: float, y: float, colour: str, line: str) -> None:
    ax.add_patch(
        Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False, edgecolor=colour, linestyle=line)
    )
