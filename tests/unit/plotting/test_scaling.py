"""The costs of the scaling study. Caught: a method in another's colour, a gap that is hidden."""

from collections.abc import Callable

import numpy as np
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from stagewise.plotting.scaling import LOOKS
from support.scaling_table import scaling_table


def test_each_device_and_quantity_has_its_panel(drawn: Callable[[str], Figure]) -> None:
    panels, table = drawn("scaling").axes, scaling_table()
    for row, quantity in enumerate(("seconds", "memory")):
        empty, ax = panels[2 * row : 2 * row + 2]
        assert [text.get_text() for text in empty.texts] == ["not run:\nmake studies"]
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        for method, look in LOOKS.items():
            rows = table[(table["method"] == method) & (table["quantity"] == quantity)]
            points, line = (one for one in ax.lines if same_color(one.get_color(), look.colour))
            expected = rows[["parameters", "cost"]].to_numpy()
            np.testing.assert_allclose(points.get_xydata(), expected, rtol=1e-12)
            np.testing.assert_allclose(line.get_ydata(), rows["fitted"], rtol=1e-12)
