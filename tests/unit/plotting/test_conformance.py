"""The figure of the conformance suite, through the artists it makes."""

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from stagewise.plotting.conformance import VERDICTS, verdict
from support.conformance_table import ROWS, conformance_table

Draw = Callable[[str], Figure]


def test_each_sampler_and_problem_has_one_cell_in_each_panel(drawn: Draw) -> None:
    for ax in drawn("conformance").axes:
        assert len(ax.patches) == len(ax.texts) == len(ROWS)


def test_cells_are_coloured_by_verdict(drawn: Draw) -> None:
    ax = drawn("conformance").axes[0]
    for patch, key in zip(ax.patches, ("law", "target", "fail", "none"), strict=True):
        assert same_color(patch.get_facecolor()[:3], VERDICTS[key][0])


def test_errors_are_written_in_percent_with_their_error(drawn: Draw) -> None:
    upper, lower = drawn("conformance").axes
    assert [text.get_text() for text in upper.texts] == [
        "+1.0\n± 0.1",
        "−3.0\n± 0.3",
        "+40.0\n± 4.0",
        "–",
    ]
    assert lower.texts[0].get_text() == "+15.0\n± 1.5"


def test_rows_name_library_version_and_method(drawn: Draw) -> None:
    labels = [tick.get_text() for tick in drawn("conformance").axes[0].get_yticklabels()]
    assert labels == ["stagewise 0.1.0 sgld", "other 2 mala"]


@pytest.mark.parametrize(
    ("passed", "law", "key"),
    [
        ("True", "sgld", "law"),
        ("False", "sgld", "fail"),
        (float("nan"), float("nan"), "none"),
        (True, "continuum", "target"),
        (False, "continuum", "fail"),
    ],
)
def test_verdicts_are_read_from_files_with_and_without_empty_cells(
    passed: object, law: object, key: str
) -> None:
    row = conformance_table().iloc[0].astype(object)
    row["problem_passed"], row["law"] = passed, law
    assert verdict(pd.Series(row)) == key
