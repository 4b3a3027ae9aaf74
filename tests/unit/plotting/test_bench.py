"""The cost curves of the bench. Caught: a curve in another's panel, a panel that hides a gap."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from support.bench_tables import SIZES, bench_costs


def test_each_axis_and_quantity_has_its_panel(drawn: Callable[[str], Figure]) -> None:
    panels, table = drawn("bench_costs").axes, bench_costs()
    for row, quantity in enumerate(("each", "memory")):
        for column, axis in enumerate(SIZES):
            ax = panels[4 * row + column]
            points = table[(table["axis"] == axis) & (table["quantity"] == quantity)]
            if points.empty:
                assert [text.get_text() for text in ax.texts] == ["not run:\nmake bench"]
                continue
            (line,) = ax.lines
            expected = points[["value", "cost"]].to_numpy()
            np.testing.assert_allclose(line.get_xydata(), expected, rtol=1e-12)
            assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
