"""Figures of the two tasks: what is drawn is what the tables say."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from stagewise.plotting import palette
from support.multitask_tables import BATCHES, EACH, SHARED

Tables = dict[str, pd.DataFrame]
Draw = Callable[[str], Figure]


def test_kernels_share_one_scale_and_leave_out_the_diagonal(drawn: Draw) -> None:
    axes = [ax for ax in drawn("multitask_kernel").axes if ax.images]
    assert len(axes) == len(SHARED)
    limits = {ax.images[0].get_clim() for ax in axes}
    assert len(limits) == 1
    (low, high) = limits.pop()
    assert low == -high
    for shared, ax in zip(SHARED, axes, strict=True):
        matrix = np.ma.filled(ax.images[0].get_array(), np.nan)
        assert np.isnan(np.diagonal(matrix)).all()
        assert matrix[0, EACH] == pytest.approx(0.2 * shared)


def test_maps_colour_every_sample_by_its_task(drawn: Draw, tables: Tables) -> None:
    plane = tables["multitask_map"]
    axes = [ax for ax in drawn("multitask_kernel").axes if ax.get_xlabel() == "first coordinate"]
    for shared, ax in zip(SHARED, axes, strict=True):
        rows = plane[(plane["shared"] == shared) & (plane["task"] == 1)]
        points = next(one for one in ax.lines if same_color(one.get_color(), palette.VERMILLION))
        np.testing.assert_array_equal(points.get_xdata(), rows["x"])
        np.testing.assert_array_equal(points.get_ydata(), rows["y"])


def test_separation_draws_means_over_seeds(drawn: Draw, tables: Tables) -> None:
    table = tables["multitask_separation"]
    wanted = table[table["quantity"] == "auroc"].groupby("shared")["value"].mean()
    ax = drawn("multitask_separation").axes[0]
    np.testing.assert_allclose(ax.containers[0].lines[0].get_ydata(orig=False), wanted)


def test_coupling_draws_every_seed_and_the_mean(drawn: Draw, tables: Tables) -> None:
    ax = drawn("multitask_separation").axes[2]
    table = tables["multitask_coupling"]
    means = [container.lines[0].get_ydata(orig=False)[0] for container in ax.containers]
    np.testing.assert_allclose(
        means, [table[table["batches"] == k]["value"].mean() for k in BATCHES]
    )
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["full", "by task", "mixed"]
