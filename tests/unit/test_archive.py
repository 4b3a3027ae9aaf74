"""`make archive` packs what figures need, checked, and replaces an archive whole or not at all."""

import subprocess
from pathlib import Path

import pytest

from stagewise.cli import archive
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.tables import COLUMNS, read_tables


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A row of every table that a figure of any act shows, and a table of none."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in {name for entry in FIGURES.values() for name in entry.tables}:
        columns = COLUMNS[name]
        text = ",".join(columns) + "\n" + ",".join(["1"] * len(columns)) + "\n"
        (folder / f"{name}.csv").write_text(text)
    (folder / "of_an_older_version.csv").write_text("a\n1\n")
    return folder


def pack(tables: Path) -> int:
    return archive.main(["--tables", str(tables), "--out", str(tables.parent / "archive")])


def test_an_archive_is_enough_for_the_figures_of_all_acts(tables: Path) -> None:
    assert pack(tables) == 0
    packed = tables.parent / "archive"
    for entry in FIGURES.values():
        read_tables(entry.tables, [packed])
    assert not (packed / "of_an_older_version.csv").exists()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=packed, check=True)
    text = (packed / "README.md").read_text(encoding="utf-8")
    assert "snakemake figures --config tables=archive/" in text
    assert all(name in text for name in FIGURES)


def test_a_second_archive_replaces_the_first(tables: Path) -> None:
    assert pack(tables) == 0
    (tables / "toy_modes.csv").unlink()
    assert pack(tables) == 0
    assert not (tables.parent / "archive/toy_modes.csv").exists()
    assert (tables.parent / "archive/toy_influence.csv").exists()


def test_a_broken_table_leaves_the_old_archive_as_it_was(
    tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(tables) == 0
    before = (tables.parent / "archive/toy_modes.csv").read_bytes()
    (tables / "toy_modes.csv").write_text("tree\nbalanced\n")
    assert pack(tables) == 2
    assert "toy_modes.csv lacks init" in capsys.readouterr().err
    assert (tables.parent / "archive/toy_modes.csv").read_bytes() == before
    assert {path.name for path in tables.parent.iterdir()} == {"tables", "archive"}


def test_nothing_else_is_replaced(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tables.parent / "archive").mkdir()
    (tables.parent / "archive/thesis.tex").write_text("years of work")
    assert pack(tables) == 2
    assert "holds other things than an archive" in capsys.readouterr().err
    assert (tables.parent / "archive/thesis.tex").exists()


def test_without_tables_it_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(tmp_path / "tables") == 2
    assert "run `make figures` first" in capsys.readouterr().err
