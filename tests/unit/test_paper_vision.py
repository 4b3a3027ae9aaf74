"""The section on the studies of images. Caught: a cell's number in another's row, a hidden gap."""

from pathlib import Path
from typing import Any

import pytest

from stagewise.storage.metrics import number
from support.typeset import section_text

STUDY = "vision.study."
MAIN = {"n_beta": 1e5, "localization": 3e4, "burn_in": 10, "draws": 50, "spacing": 1}
SETTINGS = {"vision": {"main": "glyphs", "runs": {"glyphs": {"sampling": MAIN}}}}


def section(folder: Path, studies: dict[str, Any]) -> str:
    return section_text(folder, "vision_study", {"studies": studies, "settings": SETTINGS})


def of_cell(place: int, n_beta: float, localization: float) -> dict[str, Any]:
    head = f"{STUDY}grid.cell{place}."
    return {
        head + "n_beta": number(n_beta, source="s"),
        head + "localization": number(localization, source="s"),
        head + "step_size": number(1e-5 / (1 + place), source="s"),
        head + "auroc.same_class": number(0.91 + place / 50, se=0.004, source="s"),
        head + "auroc.other_case": number(0.71 + place / 50, se=0.011, source="s"),
        head + "agreement": number(0.51 + place / 50, source="s"),
        head + "mean_excess": number(6.25 + place, source="s"),
        head + "rhat_loss_max": number(1.21 + place, source="s"),
        head + "chains_dropped": number(float(place), source="s"),
    }


@pytest.fixture
def grid() -> dict[str, Any]:
    numbers = {
        STUDY + "grid.cells": number(2.0, source="s"),
        STUDY + "grid.main.agreement": number(0.8, se=0.01, n=3, source="s"),
        STUDY + "grid.auroc.same_class.least": number(0.91, se=0.004, source="s"),
        STUDY + "grid.auroc.same_class.most": number(0.93, se=0.004, source="s"),
        **of_cell(0, 1e3, 3e4),
        **of_cell(1, 1e5, 3e4),
    }
    return {"commit": "0123456789ab", "date": "2026-01-31", "numbers": numbers}


@pytest.fixture
def long() -> dict[str, Any]:
    numbers = {STUDY + "long.draws": number(10000.0, source="s")}
    for draws, area in ((400, 0.61), (3200, 0.81), (10000, 0.84)):
        head = f"{STUDY}long.part{draws}."
        numbers[head + "auroc.same_class"] = number(area, se=0.01, source="s")
        numbers[head + "agreement"] = number(area - 0.3, source="s")
    return {"commit": "ba9876543210", "date": "2026-02-28", "numbers": numbers}


def test_what_was_not_run_says_so(tmp_path: Path) -> None:
    text = section(tmp_path, {})
    assert "Other settings: not run: make studies" in text
    assert "Many draws: not run: make studies" in text


def test_a_cell_is_a_row(tmp_path: Path, grid: dict[str, Any]) -> None:
    text = section(tmp_path, grid)
    for part in (
        "in 2 cells",
        "told at 0.9100 ± 0.0040 to 0.9300 ± 0.0040",
        "1000 30000 0.9100 ± 0.0040 0.710 ± 0.011 0.510 6.25 7 1.21 0",
        "100000 30000 0.9300 ± 0.0040 0.730 ± 0.011 0.530 7.25 13 2.21 1",
        "2026-01-31",
        "Many draws: not run",
    ):
        assert part in text, part


def test_cells_about_another_main_setting_are_not_shown(
    tmp_path: Path, grid: dict[str, Any]
) -> None:
    """Caught: a record made before the main setting was changed, read as if about this one."""
    grid["numbers"][f"{STUDY}grid.cell1.n_beta"] = number(2e5, source="s")
    assert "Other settings: not run: make studies" in section(tmp_path, grid)


def test_heated_cells_are_told_from_those_that_stay(tmp_path: Path, grid: dict[str, Any]) -> None:
    """Caught: cells counted on the wrong side, an overlap that is called a difference."""
    rise = f"{STUDY}grid.cell0.mean_excess"
    grid["numbers"][rise] = number(0.125, source="s")
    text = section(tmp_path, grid)
    assert "In 1 cells the mean loss rises by at most half a nat (0.125)" in text
    assert "told at 0.9100 ± 0.0040; in 1 it rises by more (7.25)" in text
    assert "Every heated kernel tells letters better" in text
    area = f"{STUDY}grid.cell1.auroc.same_class"
    grid["numbers"][area] = number(0.915, se=0.004, source="s")
    assert "do not all tell letters better" in section(tmp_path, grid)


def test_draws_are_in_their_order(tmp_path: Path, long: dict[str, Any]) -> None:
    """As text 10000 comes before 3200."""
    text = section(tmp_path, long)
    rows = [
        f"{draws} {area:.3f} ± 0.010 – – – {area - 0.3:.3f}"
        for draws, area in ((400, 0.61), (3200, 0.81), (10000, 0.84))
    ]
    places = [text.find(row) for row in rows]
    assert -1 not in places, text
    assert places == sorted(places)
    assert "Other settings: not run" in text
