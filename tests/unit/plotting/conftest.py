"""Fixtures of the figures: tables without results, and figures that are drawn once."""

from collections.abc import Callable, Iterator
from functools import cache

import pandas as pd
import pytest
from matplotlib.figure import Figure

from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.style import new_figure, styled
from stagewise.plotting.tables import read_tables
from support.bench_tables import bench_costs
from support.calibration_tables import calibration_tables
from support.conformance_table import conformance_table
from support.language_tables import language_tables
from support.multitask_tables import multitask_tables
from support.retraining_tables import retraining_tables, study_tables
from support.scaling_table import scaling_table
from support.toy_tables import toy_tables
from support.vision_tables import vision_tables


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """All tables as a figure reads them: through files."""
    others = {"conformance": conformance_table(), "bench_costs": bench_costs()}
    made = toy_tables() | calibration_tables() | language_tables() | multitask_tables()
    made |= vision_tables() | retraining_tables() | study_tables() | others
    made |= {"scaling": scaling_table()}
    folder = tmp_path_factory.mktemp("tables")
    for name, table in made.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return read_tables(list(made), [folder])


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
