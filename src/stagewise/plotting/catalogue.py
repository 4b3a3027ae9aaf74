"""Every figure by name: the tables it needs, its height, and the function that draws it."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from stagewise.plotting.toy_agreement import draw_toy_agreement
from stagewise.plotting.toy_diagnostics import draw_toy_diagnostics
from stagewise.plotting.toy_influence import draw_toy_influence, draw_toy_law, draw_toy_timing
from stagewise.plotting.toy_mds import draw_toy_mds
from stagewise.plotting.toy_mixture import draw_toy_mixture
from stagewise.plotting.toy_modes import draw_toy_modes
from stagewise.plotting.toy_pairs import draw_toy_pairs
from stagewise.plotting.toy_sweep import draw_toy_sweep
from stagewise.plotting.toy_windows import draw_toy_windows

Draw = Callable[[Figure, Mapping[str, pd.DataFrame]], None]


class Entry(NamedTuple):
    """What a figure is made of; the height is in inches, the width that of the text."""

    draw: Draw
    tables: tuple[str, ...]
    height: float


_CURVES = ("toy_influence", "toy_transitions")
_PAIRS = ("toy_pairs", "toy_mds")

FIGURES: Mapping[str, Entry] = MappingProxyType(
    {
        "toy_modes": Entry(draw_toy_modes, ("toy_modes",), 3.4),
        "toy_influence": Entry(draw_toy_influence, _CURVES, 5.0),
        "toy_timing": Entry(draw_toy_timing, (*_CURVES, "toy_flips"), 3.6),
        "toy_law": Entry(draw_toy_law, ("toy_influence",), 5.6),
        "toy_agreement": Entry(draw_toy_agreement, ("toy_agreement", "toy_z"), 3.5),
        "toy_pairs": Entry(partial(draw_toy_pairs, tree="balanced"), _PAIRS, 5.4),
        "toy_pairs_unbalanced": Entry(partial(draw_toy_pairs, tree="unbalanced"), _PAIRS, 5.4),
        "toy_mds": Entry(draw_toy_mds, (*_CURVES, "toy_mds"), 4.8),
        "toy_windows": Entry(draw_toy_windows, ("toy_windows", "toy_influence"), 3.6),
        "toy_sweep": Entry(draw_toy_sweep, ("toy_sweep",), 2.3),
        "toy_mixture": Entry(draw_toy_mixture, ("toy_mixture",), 3.2),
        "toy_diagnostics": Entry(draw_toy_diagnostics, ("toy_diagnostics",), 6.4),
    }
)
