"""Maps of images by the loss kernel, with the images themselves as points."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from stagewise.plotting import palette
from stagewise.plotting.marks import select
from stagewise.plotting.vision_looks import (
    METHODS,
    bare,
    draw_glyph,
    group_colours,
    main_run,
    tinted,
    unpacked,
)

#: Sizes of images on paper, as shares of their pixels.
_SMALL, _TINY, _LARGE = 0.16, 0.10, 0.34
_ZOOMS = 3


def draw_vision_map(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: the map of the last checkpoint, and three of its corners enlarged."""
    images, points = _points(tables)
    last = points[points["step"] == points["step"].max()]
    colours = group_colours(images)
    grid = figure.add_gridspec(_ZOOMS, 2, width_ratios=[3.1, 1])
    whole = figure.add_subplot(grid[:, 0])
    draw_map(whole, last, colours, _SMALL)
    for place in range(_ZOOMS):
        ax = figure.add_subplot(grid[place, 1])
        near = last[last["zoom"] == place]
        if near.empty:
            ax.set_axis_off()
            continue
        draw_map(ax, near, colours, _LARGE)
        low, high = near[["x", "y"]].min(), near[["x", "y"]].max()
        corner = (low["x"], low["y"])
        size = (high["x"] - low["x"], high["y"] - low["y"])
        whole.add_patch(Rectangle(corner, *size, fill=False, edgecolor=palette.GREY, linewidth=0.6))
        whole.annotate(str(place + 1), corner, fontsize=6, color=palette.GREY, ha="right")
        ax.set_title(str(place + 1), loc="left")
        for spine in ax.spines.values():
            spine.set_visible(True)
            spine.set_color(palette.GREY)
    handles = [
        Line2D([], [], color=colour, marker="s", linestyle="none", label=group)
        for group, colour in colours.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def draw_vision_early(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: what kernel and features tell apart over training, above maps."""
    images, points = _points(tables)
    rows = main_run(tables["vision_early"])
    steps = sorted(set(points["step"]))
    grid = figure.add_gridspec(2, 1, height_ratios=[1.0, 0.95])
    above = grid[0].subgridspec(1, 3)
    relations = list(dict.fromkeys(rows["relation"]))[:3]
    first = None
    for place, relation in enumerate(relations):
        ax = figure.add_subplot(above[place], sharey=first)
        first = first or ax
        for method in ("kernel", "penultimate"):
            curve = select(rows, relation=relation, method=method).sort_values("step")
            look = METHODS[method]
            ax.errorbar(
                curve["step"],
                curve["value"],
                yerr=2 * curve["se"].fillna(0.0),
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markersize=2.5,
                label=look.label,
                capsize=1.5,
            )
        ax.axhline(0.5, color=palette.GREY, linewidth=0.5)
        ax.set_title(relation)
        ax.set_xscale("log")
        ax.set_xlim(steps[0] / 1.2, steps[-1] * 1.2)
        ax.set_xticks(steps, [str(step) for step in steps])
        ax.minorticks_off()
        ax.set_xlabel("training step")
    if first is not None:
        first.set_ylabel("AUROC against\nunrelated pairs")
        first.legend(loc="center right")  # chance lies below, everything measured above
    below = grid[1].subgridspec(1, len(steps))
    colours = group_colours(images)
    for place, step in enumerate(steps):
        ax = figure.add_subplot(below[place])
        draw_map(ax, points[points["step"] == step], colours, _TINY)
        ax.set_title(f"step {step}")


def draw_map(ax: Axes, points: pd.DataFrame, colours: Mapping[str, str], zoom: float) -> None:
    """Draws images at their places.

    Args:
        ax: Axes to draw on.
        points: Rows x, y, pixels, group.
        colours: Of the groups.
        zoom: Size of an image on paper, as a share of its pixels.
    """
    for x, y, pixels, group in points[["x", "y", "pixels", "group"]].itertuples(index=False):
        draw_glyph(ax, x, y, pixels, colours[str(group)], zoom)
    pad = 0.04 * np.ptp(points[["x", "y"]].to_numpy(), axis=0)
    ax.set_xlim(points["x"].min() - pad[0], points["x"].max() + pad[0])
    ax.set_ylim(points["y"].min() - pad[1], points["y"].max() + pad[1])
    bare(ax)


def draw_vision_neighbours(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a row for each query, its nearest images by kernel and by features."""
    images = main_run(tables["vision_images"]).set_index("id")
    rows = main_run(tables["vision_neighbours"])
    queries = list(dict.fromkeys(rows["query"]))
    methods = [name for name in METHODS if name in set(rows["method"])]
    count = int(rows["rank"].max())
    ax = figure.subplots()
    width = 1.6 + len(methods) * (count + 0.8)
    for row, query in enumerate(queries):
        _tile(ax, 0.0, row, images.loc[query], palette.BLACK, framed=True)
        for block, method in enumerate(methods):
            near = select(rows, query=query, method=method).sort_values("rank")
            for place, (other, same) in enumerate(
                near[["neighbour", "related"]].itertuples(index=False)
            ):
                colour = palette.BLUE if same == "same class" else palette.BLACK
                colour = palette.VERMILLION if same == "unrelated" else colour
                x = 1.6 + block * (count + 0.8) + place
                _tile(ax, x, row, images.loc[other], colour)
    for block, method in enumerate(methods):
        middle = 1.6 + block * (count + 0.8) + (count - 1) / 2
        ax.text(middle, -0.75, METHODS[method].label, ha="center", fontsize=7, weight="bold")
    ax.text(0, -0.75, "query", ha="center", fontsize=7, weight="bold")
    ax.set_xlim(-0.7, width - 0.9)
    ax.set_ylim(len(queries) - 0.4, -1.0)
    ax.set_aspect("equal")
    bare(ax)


def draw_vision_sheet(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure`` with every recorded class in one held-out face, coloured by group."""
    images = main_run(tables["vision_images"])
    first = images.drop_duplicates("class").sort_values(["group", "class"])
    colours = group_colours(images)
    columns = 22
    ax = figure.subplots()
    for place, row in enumerate(first.itertuples(index=False)):
        y, x = divmod(place, columns)
        picture = tinted(unpacked(row.pixels), colours[str(row.group)])
        ax.imshow(picture, extent=(x - 0.46, x + 0.46, y + 0.46, y - 0.46))
    ax.set_xlim(-0.6, columns - 0.4)
    ax.set_ylim((len(first) - 1) // columns + 0.6, -0.6)
    ax.set_aspect("equal")
    bare(ax)


def _tile(
    ax: Axes, x: float, y: float, image: pd.Series, colour: str, *, framed: bool = False
) -> None:
    picture = tinted(unpacked(image["pixels"]), colour)
    ax.imshow(picture, extent=(x - 0.45, x + 0.45, y + 0.45, y - 0.45))
    if framed:
        ax.add_patch(
            Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False, edgecolor=palette.GREY)
        )


def _points(tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    images = main_run(tables["vision_images"])
    points = main_run(tables["vision_map"])
    return images, points.merge(images[["id", "pixels", "group"]], on="id")
