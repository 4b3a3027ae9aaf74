"""The table of what rules took: every job counted once, written where the page has its marks."""

import math
from pathlib import Path

import pytest

from stagewise.cli import resources
from stagewise.errors import SchemaError
from stagewise.storage import benchmarks

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tcpu_time\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Benchmarks of three jobs of a rule, one too short to be measured, and of another rule."""
    (tmp_path / "marks" / "sample").mkdir(parents=True)
    for name, row in (
        ("sample/a_0", "12.4\t0:00:12\t300.6\t900\t11.0"),
        ("sample/a_1", "10.0\t0:00:10\t-\t-\t-"),
        ("sample/b_0", "2.1\t0:00:02\t120.0\t900\t2.0"),
        ("tables", "1.2\t0:00:01\t80.2\t90\t1.0"),
    ):
        (tmp_path / "marks" / f"{name}.tsv").write_text(f"{HEADER}{row}\n")
    return tmp_path / "marks"


ROWS = "| sample | 3 | 12 s | 24 s | 301 MB |\n| tables | 1 | 1 s | 1 s | 80 MB |\n"


def test_every_rule_has_one_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resources.main(["--benchmarks", str(folder)]) == 0
    assert capsys.readouterr().out == resources.HEADING + ROWS


def test_a_page_keeps_what_stands_around_its_table(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{resources.BEGIN}\nold\n{resources.END}\nafter\n")
    for _ in range(2):
        assert resources.main(["--benchmarks", str(folder), "--page", str(page)]) == 0
        table = f"{resources.HEADING}{ROWS}"
        assert page.read_text() == (f"before\n{resources.BEGIN}\n{table}{resources.END}\nafter\n")


@pytest.mark.parametrize("text", ["", "<!-- resources: end -->\n<!-- resources: begin -->\n"])
def test_a_page_without_marks_is_left_as_it_is(
    text: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert resources.main(["--benchmarks", str(folder), "--page", str(page)]) == 2
    assert "needs the lines" in capsys.readouterr().err
    assert page.read_text() == text


def test_a_run_without_benchmarks_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resources.main(["--benchmarks", str(tmp_path)]) == 2
    assert "make paper" in capsys.readouterr().err


def test_memory_that_was_not_measured_is_no_number(folder: Path) -> None:
    found = benchmarks.read(folder / "sample" / "a_1.tsv")
    assert found.seconds == 10.0
    assert math.isnan(found.megabytes)


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("step\tloss\n1\t2\n")
    with pytest.raises(SchemaError, match="no benchmark of Snakemake"):
        benchmarks.read(path)
