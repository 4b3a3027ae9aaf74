"""The section on cost. Caught: a record's number in another record's text, a gap that is hidden."""

from pathlib import Path
from typing import Any

import pytest

from stagewise.evaluation.scaling import scaling_numbers
from stagewise.storage.metrics import number
from support.typeset import section_text
from unit.evaluation.test_scaling import CONTENT, measured


def section(folder: Path, records: dict[str, dict[str, Any]]) -> str:
    """Typesets the section alone and returns its text."""
    return section_text(folder, "scaling", records, "= Speed <sec-speed>")


@pytest.fixture
def study() -> dict[str, Any]:
    from stagewise.config.base import parse
    from stagewise.config.scaling import ScalingSettings

    found = measured()
    for name, change in (("bif_b", 1.05), ("ekfac_b", 0.95), ("ekfac_a_n20", 1.1)):
        scaled = (key for key in found[name] if isinstance(found[name][key], float))
        found[name] |= {key: change * found[name][key] for key in scaled}
    numbers = scaling_numbers(found, parse(ScalingSettings, CONTENT))
    return {"commit": "0123456789ab", "date": "2026-01-31", "numbers": numbers}


def test_what_was_not_run_says_so(tmp_path: Path) -> None:
    text = section(tmp_path, {})
    assert "CPU: not run: make studies" in text
    assert "GPU: not run: bench/gpu.py" in text
    assert "Cluster: not run: make test-cluster" in text


def test_each_record_is_printed_with_its_device(tmp_path: Path, study: dict[str, Any]) -> None:
    """22.6 s and a crossing on the CPU; on the GPU no crossing, and tests that passed."""
    there = {key: one for key, one in study["numbers"].items() if "crossing_log10" not in key}
    there |= {"gpu.tests.passed": number(31, source="gpu")}
    gpu = study | {"numbers": there, "device": "A GPU of ours", "date": "2026-02-01"}
    jobs = {"cluster.jobs": number(47, source=""), "cluster.smoke.minutes": number(8.53, source="")}
    cluster = study | {"numbers": jobs, "date": "2026-02-02"}
    text = section(tmp_path, {"studies": study, "gpu": gpu, "cluster": cluster})
    for part in ("22.6", "130", "A GPU of ours", "2026-01-31", "2026-02-01", "31 tests passed"):
        assert part in text
    assert "took 8.53 minutes as 47 jobs of a Slurm of one node" in text
    assert "at commit 0123456789ab on 2026-02-02" in text
    assert "not run" not in text
    assert text.count("meet at 10") == text.count("do not meet at a place") == 1
