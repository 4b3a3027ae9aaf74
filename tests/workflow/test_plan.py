"""`stagewise plan` and `stagewise doctor` as people call them, on a run that is finished."""

import re
import sys

from support.workflow import SMOKE, Copy


def test_a_finished_run_is_planned_as_it_was_measured(smoke: Copy) -> None:
    """Catches keys that don't match benchmark files, and a job of which none is found."""
    command = [sys.executable, "-m", "stagewise.cli.plan", *SMOKE]
    output = smoke.run(command)
    assert "not known" not in output
    assert "jobs of this configuration's own results" in output
    rows = dict(re.findall(r"^(\w[\w, ]*?)  +(\d+)  ", output, flags=re.MULTILINE))
    assert int(rows["total"]) == sum(int(count) for act, count in rows.items() if act != "total")
    assert {"toy", "language", "multitask", "vision", "calibration"} <= set(rows)
    assert not re.search(r"^total .* - +- ", output, flags=re.MULTILINE)


def test_the_doctor_finds_nothing_missing_for_it(smoke: Copy) -> None:
    command = [sys.executable, "-m", "stagewise.cli.doctor", *SMOKE]
    assert "nothing is missing for config/smoke.yaml" in smoke.run(command)
