"""From the tidy table to headlines, numbers and files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stagewise.cli import conformance, conformance_table
from stagewise.conformance.problems.by_name import problem
from stagewise.conformance.suite import COLUMNS, run_suite
from stagewise.conformance.verdict import Rule
from stagewise.evaluation.conformance import conformance_numbers, with_headlines
from stagewise.storage.metrics import check_numbers
from support.plain_chain import PlainChain

SETTINGS = {
    "seed": 3,
    "sampler": "stagewise_mala",
    "judge": {
        "problems": ["gaussian", "linear_regression_minibatch"],
        "chains": 8,
        "draws": 4,
        "friction": 0.5,
        "false_fail": 1e-4,
        "allowance": 0.05,
    },
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    problems = [problem(name).with_length(32, 10) for name in ("gaussian", "linear_regression")]
    samplers = [PlainChain(), PlainChain("localization_dropped")]
    return run_suite(samplers, problems, Rule(1e-4, 0.05, blunt=np.inf), seed=0)


def test_there_is_a_row_for_each_check(table: pd.DataFrame) -> None:
    assert tuple(table) == COLUMNS
    assert len(table) == 2 * 2 * 2
    assert table["settings"].map(json.loads).map(type).eq(dict).all()


def test_headlines_are_the_last_checks_and_judge_all(table: pd.DataFrame) -> None:
    made = with_headlines(table)
    heads = made[made["headline"]]
    assert heads["check"].tolist() == ["covariance"] * 4
    for (sampler, name), rows in table.groupby(["sampler", "problem"]):
        head = heads[(heads["sampler"] == sampler) & (heads["problem"] == name)].iloc[0]
        assert bool(head["problem_passed"]) == bool(rows["passed"].all())
        assert head["max_abs_z"] == rows["z"].abs().max()


def test_a_problem_with_a_check_without_verdict_has_none(table: pd.DataFrame) -> None:
    changed = table.astype({"passed": object})
    changed.loc[0, "passed"] = None
    made = with_headlines(changed)
    assert pd.isna(made.loc[1, "problem_passed"])
    numbers = conformance_numbers(made)
    assert numbers["sampling.conformance.correct.gaussian.passed"]["value"] is None
    assert numbers["sampling.conformance.correct.passed_fraction"]["n"] == 1


def test_a_check_that_fails_decides_beside_one_without_verdict(table: pd.DataFrame) -> None:
    changed = table.astype({"passed": object})
    changed.loc[0, "passed"], changed.loc[1, "passed"] = None, False
    assert not with_headlines(changed).loc[1, "problem_passed"]


def test_numbers_have_their_keys_and_errors(table: pd.DataFrame) -> None:
    numbers = check_numbers(conformance_numbers(with_headlines(table)))
    prefix = "sampling.conformance.correct"
    last = table[(table["sampler"] == "correct") & (table["problem"] == "gaussian")].iloc[-1]
    found = numbers[f"{prefix}.gaussian.relative_error"]
    assert found["value"] == last["relative_error"]
    assert found["se"] == last["relative_error_se"]
    assert found["n"] == 32
    assert numbers[f"{prefix}.gaussian.passed"]["value"] in (0, 1)
    assert numbers[f"{prefix}.passed_fraction"]["n"] == 2
    assert numbers["sampling.conformance.settings.gaussian.burn_in"]["value"] == 40
    assert numbers["sampling.conformance.settings.gaussian.batch_size"]["value"] is None


def test_stages_write_a_table_and_numbers(tmp_path: Path) -> None:
    part = tmp_path / "stagewise_mala.csv"
    assert conformance.main(["--settings", json.dumps(SETTINGS), "--out", str(part)]) == 0
    flags = ["--parts", str(part), "--table", str(tmp_path / "conformance.csv")]
    assert conformance_table.main([*flags, "--numbers", str(tmp_path / "numbers.json")]) == 0
    made = pd.read_csv(tmp_path / "conformance.csv")
    assert made["problem"].tolist() == ["gaussian", "gaussian", "linear_regression_minibatch"]
    assert made["passed"].isna().tolist() == [True, True, True]
    assert made["note"].tolist()[:2] == ["too noisy to judge"] * 2  # eight chains of four draws
    assert "full gradients" in made["note"].iloc[-1]
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    prefix = "sampling.conformance.stagewise_mala"
    assert numbers[f"{prefix}.linear_regression_minibatch.passed"]["value"] is None
    assert np.isfinite(numbers[f"{prefix}.gaussian.max_abs_z"]["value"])


def test_a_broken_part_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("")
    flags = ["--parts", str(tmp_path / "a.csv"), "--table", str(tmp_path / "t.csv")]
    assert conformance_table.main([*flags, "--numbers", str(tmp_path / "n.json")]) == 2
    assert "a.csv" in capsys.readouterr().err
