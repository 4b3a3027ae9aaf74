"""Sections on the studies of retraining. Caught: another study's number, a gap that is hidden."""

from pathlib import Path
from typing import Any

import pytest

from stagewise.storage.metrics import number
from support.typeset import section_text

SENSITIVITY, LANGUAGE = "retraining.sensitivity.", "retraining.language."


CALIBRATED = "sampling.calibration.digits."


def section(folder: Path, studies: dict[str, Any], sizes: tuple[int, ...] = (24,)) -> str:
    """Typesets the sections alone and returns their text; chains may take batches of ``sizes``."""
    before = (
        "= Calibration <sec-calibration>\n#figure(kind: table, caption: [Scores.], [1]) <tab-lds>"
    )
    language = {"train": 192, "sampled": {"goal": {"batch_sizes": sizes}}}
    records = {
        "studies": studies,
        "settings": {"retraining": {"problems": {"language": language}}},
        "numbers": {
            CALIBRATED + "calibrated.agreement": number(0.97, source="s"),
            CALIBRATED + "calibrated_minibatch.agreement": number(0.83, source="s"),
        },
    }
    return section_text(folder, "retraining_study", records, before)


@pytest.fixture
def record() -> dict[str, Any]:
    found = {
        SENSITIVITY + "grid_min": number(0.111, n=48, source="s"),
        SENSITIVITY + "grid_median": number(0.777, n=48, source="s"),
        SENSITIVITY + "grid_max": number(0.888, n=48, source="s"),
        SENSITIVITY + "gradients.sgld_full_plain": number(0.52, se=0.03, n=96, source="s"),
        SENSITIVITY + "difference.sgld_less_calibrated_full_plain": number(
            -0.31, se=0.02, n=96, source="s"
        ),
        SENSITIVITY + "difference.calibrated_minibatch_plain_128_less_full": number(
            -0.42, se=0.02, n=96, source="s"
        ),
        SENSITIVITY + "gap.damping30.damping": number(0.003, source="s"),
        SENSITIVITY + "gap.damping30.limit": number(0.855, se=0.006, n=96, source="s"),
        SENSITIVITY + "gap.damping30.draws": number(0.071, se=0.003, n=96, source="s"),
        SENSITIVITY + "gap.damping30.law": number(-0.003, se=0.002, n=96, source="s"),
        SENSITIVITY + "gap.damping30.draws_run": number(6400.0, source="s"),
        SENSITIVITY + "speed.ekfac": number(0.654, se=0.012, source="s"),
        SENSITIVITY + "seconds.ekfac": number(7.25, unit="s", source="s"),
        LANGUAGE + "lds.alpha50.trak": number(0.432, se=0.021, n=64, source="s"),
        LANGUAGE + "lds.alpha50.trak_low": number(0.39, source="s"),
        LANGUAGE + "seconds.trak": number(3.21, unit="s", source="s"),
        LANGUAGE + "ceiling.alpha50": number(0.9, se=0.01, n=2, source="s"),
    }
    return {"commit": "0123456789ab", "date": "2026-01-31", "numbers": found}


def test_what_was_not_run_says_so(tmp_path: Path) -> None:
    text = section(tmp_path, {})
    assert "Settings of the sampler: not run: make studies" in text
    assert "A language model: not run: make studies" in text


def test_recorded_numbers_are_printed_in_their_places(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    text = section(tmp_path, record)
    for part in (
        "Over 48 cells",
        "from 0.111 to 0.888 with a median of 0.777",
        "−0.310 ± 0.020 (overdamped)",
        "At a damping of 0.00300 draws take 0.0710 ± 0.0030 and the law −0.0030 ± 0.0020, nothing",
        "single runs of 6400 draws",
        "EK-FAC 0.654 ± 0.012 7.25",
        "TRAK 0.432 ± 0.021 3.21",
        "noise ceiling 0.900 ± 0.010",
        "Chains take minibatches of 24 of 192 documents. On the digits minibatches harm",
        "to 0.830 instead of 0.970 (Section 1)",
        "score changes by −0.420 ± 0.020",
        "No setting was chosen from these numbers",
    ):
        assert part in text, part
    assert text.count("Recorded at commit 0123456789ab on 2026-01-31") == 4  # tables, each its own
    assert "0.39" not in text
    assert "A language model: not run" not in text


def test_chains_of_full_gradients_are_not_said_to_take_minibatches(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    assert "Chains take minibatches" not in section(tmp_path, record, sizes=(0,))


def test_a_law_that_takes_something_is_not_called_nothing(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    record["numbers"][SENSITIVITY + "gap.damping30.law"] = number(0.06, se=0.002, source="s")
    text = section(tmp_path, record)
    assert "the law 0.0600 ± 0.0020." in text
    assert "nothing within its error" not in text


def test_a_record_from_before_the_replicas_says_so(tmp_path: Path, record: dict[str, Any]) -> None:
    old = {key: one for key, one in record["numbers"].items() if ".gap." not in key}
    text = section(tmp_path, {**record, "numbers": old})
    assert "Draws or law? not run: make studies" in text
