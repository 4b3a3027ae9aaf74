"""The figures of image networks, through the artists they make.

Caught: a method in another's colour, chance that is not drawn, a scale that differs between cells
that are compared, tiles of other images, a pooled kernel drawn as a seed.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from stagewise.plotting.vision_alignment import apart, draw_draws
from stagewise.plotting.vision_looks import METHODS, unpacked
from support.vision_tables import COUNT, LOCALIZATION, LONG_DRAWS, N_BETA, RELATIONS, SEEDS, STEPS

Draw = Callable[[str], Figure]
Tables = dict[str, pd.DataFrame]


def test_relations_are_drawn_in_the_colour_of_their_method(drawn: Draw, tables: Tables) -> None:
    ax = drawn("vision_alignment").axes[0]
    table = tables["vision_relations"]
    assert len(ax.containers) == len(METHODS)
    for (name, look), container in zip(METHODS.items(), ax.containers, strict=True):
        points = container.lines[0]
        assert same_color(points.get_color(), look.colour)
        wanted = table[table["method"] == name]["value"]
        np.testing.assert_allclose(np.asarray(points.get_ydata(), float), wanted)
    labels = [tick.get_text().replace("\n", " ") for tick in ax.get_xticklabels()]
    assert labels == list(RELATIONS)


def test_chance_is_drawn_at_every_depth(drawn: Draw) -> None:
    for name, place in (("vision_alignment", 1), ("vision_clusters", 1), ("vision_clusters", 2)):
        ax = drawn(name).axes[place]
        marks = [segment for one in ax.collections for segment in one.get_segments()]
        flat = [one[0][1] for one in marks if one[0][1] == one[1][1]]  # error bars are upright
        assert flat == pytest.approx([0.2] * 3)


def test_draws_have_a_line_for_each_seed_and_a_star_for_all(drawn: Draw) -> None:
    ax = drawn("vision_alignment").axes[2]
    stars = [line for line in ax.lines if line.get_marker() == "*"]
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(stars) == 3
    assert len(lines) == 3 * len(SEEDS)
    assert {float(star.get_xdata()[0]) for star in stars} == {128.0}


def test_names_of_stars_lie_apart_in_the_order_of_the_stars(tables: Tables) -> None:
    rows = tables["vision_draws"]
    together = {"same class": 0.79, "other diacritic": 0.801, "other case": 0.8}
    pooled = rows["seed"].isna()
    rows = rows.assign(value=rows["value"].where(~pooled, rows["relation"].map(together)))
    assert set(rows["relation"]) == set(together)
    figure = Figure(figsize=(2, 2.9))
    ax = figure.subplots()
    draw_draws(ax, rows)
    figure.draw_without_rendering()
    heights = {text.get_text().replace("\n", " "): text.xy[1] for text in ax.texts}
    assert sorted(heights, key=heights.__getitem__) == sorted(together, key=together.__getitem__)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x0 >= ax.bbox.x1 for box in boxes)  # beside the panel, over no curve


def test_names_that_have_room_stay_where_they_are() -> None:
    np.testing.assert_allclose(apart([0.9, 0.1, 0.5], 0.2), [0.9, 0.1, 0.5])
    np.testing.assert_allclose(apart([0.5, 0.5, 0.5], 0.2), [0.3, 0.5, 0.7])


def test_maps_have_every_image_at_its_place(drawn: Draw, tables: Tables) -> None:
    ax = drawn("vision_map").axes[0]
    table = tables["vision_map"]
    last = table[table["step"] == STEPS[-1]]
    found = [one.xy for one in ax.artists]
    assert len(found) == COUNT
    np.testing.assert_allclose(found, last[["x", "y"]])


def test_development_has_a_map_for_each_checkpoint(drawn: Draw) -> None:
    axes = drawn("vision_early").axes
    assert [ax.get_title() for ax in axes if ax.artists] == [f"step {step}" for step in STEPS]


def test_neighbours_have_a_row_for_each_query(drawn: Draw, tables: Tables) -> None:
    ax = drawn("vision_neighbours").axes[0]
    table = tables["vision_neighbours"]
    assert len(ax.images) == len(table) + table["query"].nunique()


def test_influence_frames_conflicts_and_flips(drawn: Draw, tables: Tables) -> None:
    ax = drawn("vision_influence").axes[0]
    table = tables["vision_influence"]
    framed = {line: 0 for line in ("-", "--", ":")}
    for patch in ax.patches:
        framed[patch.get_linestyle()] = framed.get(patch.get_linestyle(), 0) + 1
    assert framed["-"] == int(table["conflict"].sum())
    assert framed[":"] == int((table["flipped"] & ~table["conflict"]).sum())


def test_cells_of_the_study_say_their_values(drawn: Draw, tables: Tables) -> None:
    axes = drawn("vision_sensitivity").axes
    table = tables["vision_sensitivity"]
    cells = table[(table["kind"] == "grid") & (table["quantity"] == "auroc same class")]
    wanted = cells.pivot(index="n_beta", columns="localization", values="value")
    np.testing.assert_array_equal(axes[0].images[0].get_array(), wanted)
    assert len(axes[0].texts) == len(N_BETA) * len(LOCALIZATION)
    assert axes[0].texts[0].get_text().startswith(f"{wanted.iloc[0, 0]:.3g}")
    assert axes[0].images[0].get_clim() == (0.5, 1.0)


def test_the_long_run_is_drawn_against_its_draws(drawn: Draw) -> None:
    (ax,) = drawn("vision_long").axes
    assert len(ax.containers) == 3
    points = ax.containers[0].lines[0]
    np.testing.assert_array_equal(points.get_xdata(), LONG_DRAWS)


def test_a_cell_that_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="base64|padding|decompress|invalid|Incorrect"):
        unpacked("8:not a picture")
