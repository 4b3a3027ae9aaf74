"""Figures as files: equal bytes, no dates, and errors that name the table."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

from stagewise.cli import figure
from stagewise.errors import SchemaError
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.style import styled
from stagewise.plotting.tables import COLUMNS, read_table, read_tables


@pytest.fixture(scope="module")
def folder(tables: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables")
    for name, table in tables.items():
        table.to_csv(path / f"{name}.csv", index=False)
    return path


def draw(name: str, folder: Path, out: Path) -> dict[str, bytes]:
    flags = ["--name", name, "--tables", str(folder)]
    flags += ["--pdf", str(out / "a.pdf"), "--png", str(out / "a.png")]
    assert figure.main(flags) == 0
    return {path.suffix: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize("name", ["toy_modes", "toy_sweep"])
def test_equal_tables_give_equal_bytes(name: str, folder: Path, tmp_path: Path) -> None:
    first = draw(name, folder, tmp_path)
    mpl.rcParams["font.size"] = 20  # what the user has set elsewhere changes nothing
    try:
        assert draw(name, folder, tmp_path) == first
    finally:
        mpl.rcdefaults()
    assert set(first) == {".pdf", ".png"}


def test_files_carry_no_date_and_no_version(folder: Path, tmp_path: Path) -> None:
    files = draw("toy_mixture", folder, tmp_path)
    assert b"CreationDate" not in files[".pdf"]
    assert b"Matplotlib" not in files[".pdf"]
    assert b"Software" not in files[".png"]


def test_tables_may_be_given_as_files(folder: Path, tmp_path: Path) -> None:
    flags = ["--name", "toy_law", "--tables", str(folder / "toy_influence.csv")]
    assert figure.main([*flags, "--png", str(tmp_path / "law.png")]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["law.png"]


def test_unknown_figure_is_refused_with_the_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert figure.main(["--name", "toy_pie", "--tables", str(folder)]) == 2
    message = capsys.readouterr().err
    assert "toy_pie" in message
    assert "toy_influence" in message


def test_missing_table_names_the_places(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"toy_law\.csv|toy_influence\.csv"):
        read_tables(["toy_influence"], [tmp_path])
    with pytest.raises(SchemaError, match="run the stage that makes it"):
        read_table(tmp_path / "toy_influence.csv")


def test_missing_column_is_named(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    path = tmp_path / "toy_flips.csv"
    tables["toy_flips"].drop(columns="relation").to_csv(path, index=False)
    with pytest.raises(SchemaError, match="lacks relation; it has tree, seed, influence, step"):
        read_table(path)


@pytest.mark.parametrize("text", ["", "tree,seed,influence,relation,step\n", "a,b\n1,2,3\n4\n"])
def test_empty_or_broken_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "toy_flips.csv").write_text(text)
    with pytest.raises(SchemaError, match=r"toy_flips\.csv"):
        read_table(tmp_path / "toy_flips.csv")


def test_every_figure_reads_known_tables() -> None:
    assert {table for entry in FIGURES.values() for table in entry.tables} == set(COLUMNS)


def test_style_leaves_the_users_settings_alone() -> None:
    before = mpl.rcParams["axes.linewidth"]
    with styled():
        assert mpl.rcParams["axes.linewidth"] == 0.6
        assert mpl.rcParams["font.family"] == ["DejaVu Sans"]
    assert mpl.rcParams["axes.linewidth"] == before
