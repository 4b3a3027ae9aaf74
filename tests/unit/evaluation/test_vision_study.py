"""The studies of the sampler's settings and of its draws: cells by name, the long kernel.

Caught: a cell under another's settings, an agreement of a kernel with itself, draws of one chain
for those of all, the least taken for the most.
"""

import numpy as np
import pandas as pd
import pytest

from stagewise.config.vision_study import StudiedKernel
from stagewise.errors import SchemaError
from stagewise.evaluation.alignment import spearman
from stagewise.evaluation.vision import Layout, layout
from stagewise.evaluation.vision_study import (
    Studied,
    sensitivity_table,
    studied,
    study_numbers,
)
from stagewise.evaluation.vision_tables import matrix_of
from support.vision_files import CLASSES, block, kernel, kernels, recorded, tree

GRID = [
    StudiedKernel(name=f"grid_0_{place}", n_beta=10.0, localization=10.0**place, step_size=0.1)
    for place in range(2)
]


@pytest.fixture(scope="module")
def of() -> Layout:
    return layout(recorded(), tree(), dict.fromkeys(CLASSES, 3))


@pytest.fixture(scope="module")
def found(of: Layout) -> Studied:
    cells = [
        kernel(one.name, {"kernel": block(0.1 + 0.8 * place, 0.2, 30 + place)})
        for place, one in enumerate(GRID)
    ]
    return studied([*kernels(), *cells], GRID, of)


@pytest.fixture(scope="module")
def long(of: Layout) -> Studied:
    many = kernel("long", {"kernel": block(0.9, 0.1, 50), "kernel_4": block(0.5, 0.4, 51)})
    return studied([*kernels(), many], [], of)


@pytest.fixture(scope="module")
def table(found: Studied, of: Layout) -> pd.DataFrame:
    return sensitivity_table(found, GRID, of)


def test_a_cell_has_its_own_settings_and_values(table: pd.DataFrame, found: Studied) -> None:
    # Cells share the noise of the first seed's kernel, with which they are not compared.
    other = matrix_of(list(found.main.values())[1], "kernel")
    rows = table[table["quantity"] == "agreement"].set_index("job")
    for cell in GRID:
        assert rows.loc[cell.name, "localization"] == cell.localization
        own = matrix_of(found.grid[cell.name], "kernel")
        assert rows.loc[cell.name, "value"] == pytest.approx(spearman(own, other))


def test_a_cell_may_be_a_main_kernel(table: pd.DataFrame, found: Studied, of: Layout) -> None:
    """Caught: a cell that was sampled already is left out, or counts as a main kernel alone."""
    name = next(iter(found.main))
    cell = StudiedKernel(name=name, n_beta=7.0, localization=7.0, step_size=7.0)
    assert not studied(list(found.main.values()), [cell], of).grid
    both = sensitivity_table(found, [*GRID, cell], of)
    rows = both[(both["kind"] == "grid") & (both["job"] == name)].set_index("quantity")
    main = table[(table["kind"] == "main") & (table["job"] == name)].set_index("quantity")
    areas = [quantity for quantity in main.index if quantity.startswith("auroc")]
    pd.testing.assert_series_equal(rows["value"][areas], main["value"][areas])
    assert study_numbers(both, found, of, 10, seed=1)["grid.cells"].value == len(GRID) + 1


def test_main_kernels_agree_with_the_others_not_with_themselves(
    table: pd.DataFrame, found: Studied
) -> None:
    one, other = (matrix_of(each, "kernel") for each in found.main.values())
    rows = table[(table["kind"] == "main") & (table["quantity"] == "agreement")]
    np.testing.assert_allclose(rows["value"], spearman(one, other))


def test_the_long_kernel_is_there_by_its_draws(long: Studied, of: Layout) -> None:
    table = sensitivity_table(long, [], of)
    assert sorted(table[table["kind"] == "long"]["draws"].unique()) == [32, 64]
    numbers = study_numbers(table, long, of, 10, seed=1)
    assert numbers["long.draws"].value == 64
    for key in ("long.alignment.spearman", "long.nmi.depth1", "long.auroc.same_class"):
        assert key in numbers
    of_first = table[(table["draws"] == 32) & (table["quantity"] == "auroc same class")]
    assert numbers["long.part32.auroc.same_class"].value == of_first["value"].item()
    assert numbers["long.part64.auroc.same_class"] == numbers["long.auroc.same_class"]
    assert {key.partition(".")[0] for key in numbers} == {"long"}


def test_numbers_name_the_cells_of_least_and_most(
    table: pd.DataFrame, found: Studied, of: Layout
) -> None:
    numbers = study_numbers(table, found, of, 10, seed=1)
    cells = table[(table["kind"] == "grid") & (table["quantity"] == "auroc same class")]
    assert numbers["grid.auroc.same_class.least"].value == cells["value"].min()
    assert numbers["grid.auroc.same_class.most"].value == cells["value"].max()
    best = cells.sort_values("value").iloc[-1]
    assert numbers["grid.auroc.same_class.most.localization"].value == best["localization"]
    assert numbers["grid.cells"].value == len(GRID)
    for place, cell in enumerate(GRID):
        assert numbers[f"grid.cell{place}.localization"].value == cell.localization
        assert numbers[f"grid.cell{place}.step_size"].value == cell.step_size
        own = cells[cells["job"] == cell.name]
        assert numbers[f"grid.cell{place}.auroc.same_class"].value == own["value"].item()
    # A key belongs to one study: the two are recorded one by one.
    assert {key.partition(".")[0] for key in numbers} == {"grid"}


def test_missing_kinds_and_other_images_are_refused(of: Layout) -> None:
    with pytest.raises(SchemaError, match=r"main runs and \['long'\]"):
        studied(kernels(), [], of)
    with pytest.raises(SchemaError, match=r"main runs and \['grid_0_0', 'grid_0_1'\]"):
        studied(kernels(), GRID, of)
    with pytest.raises(SchemaError, match="those of main runs"):
        studied([], GRID, of)
    with pytest.raises(SchemaError, match="other images"):
        studied([kernels()[0].isel(sample=slice(None, None, -1))], GRID, of)
