"""Fixtures of the figures: tables without results, and figures that are drawn once."""

from collections.abc import Callable, Iterator
from functools import cache

import pandas as pd
import pytest
from matplotlib.figure import Figure

from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.style import new_figure, styled
from support.toy_tables import toy_tables


@pytest.fixture(scope="session")
def tables() -> dict[str, pd.DataFrame]:
    return toy_tables()


@pytest.fixture(scope="session")
def drawn(tables: dict[str, pd.DataFrame]) -> Iterator[Callable[[str], Figure]]:
    """Draws a figure by name, once."""

    @cache
    def draw(name: str) -> Figure:
        figure = new_figure(FIGURES[name].height)
        FIGURES[name].draw(figure, {key: tables[key] for key in FIGURES[name].tables})
        return figure

    with styled():
        yield draw
