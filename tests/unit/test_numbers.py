"""Numbers: merged without loss, written for LaTeX, compared with the record."""

import json
import math
from pathlib import Path

import pytest
import yaml

from stagewise.cli import check, expected, numbers
from stagewise.errors import ConfigError
from stagewise.evaluation.numbers import (
    deviations,
    in_latex,
    is_timing,
    latex_tables,
    macros,
    parse_tolerances,
    significant,
    unrecorded,
)
from support.numbers import DEFAULT, entry, settings, write
from support.repository import ROOT


def deviating(found: dict, recorded: dict, rules: dict | None = None) -> list[str]:
    tolerances = parse_tolerances(rules)
    return [d.message for d in deviations({"a.b": found}, {"a.b": recorded}, tolerances)]


def test_merging_keeps_every_entry_and_writes_all_forms(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", {"toy.a": entry(0.5, 0.01, 5)})
    two = write(tmp_path / "two.json", {"toy.b_c.d": entry(3)})
    flags = ["--metrics", str(one), str(two), "--out", str(tmp_path / "out.json")]
    flags += ["--tex", str(tmp_path / "n.tex"), "--tables-tex", str(tmp_path / "t.tex")]
    flags += ["--settings", json.dumps(settings()), "--settings-out", str(tmp_path / "s.json")]
    assert numbers.main(flags) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "toy.a": entry(0.5, 0.01, 5),
        "toy.b_c.d": entry(3),
    }
    assert r"\csname stagewise@toy.a\endcsname{0.500 \pm 0.010}" in (tmp_path / "n.tex").read_text()
    assert r"toy.b\_c.d & $3$" in (tmp_path / "t.tex").read_text()
    assert json.loads((tmp_path / "s.json").read_text()) == settings()


def test_a_key_in_two_files_is_refused_with_both_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (write(tmp_path / f"{k}.json", {"toy.a": entry()}) for k in ("one", "two"))
    out = tmp_path / "out.json"
    assert numbers.main(["--metrics", str(one), str(two), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert all(part in message for part in ("toy.a", "one.json", "two.json"))
    assert not out.exists()


def test_the_record_allows_five_standard_errors_of_a_difference() -> None:
    recorded = entry(1.0, 0.1, 5)
    edge = 5 * math.sqrt(2) * 0.1
    assert deviating(entry(1 + 0.999 * edge, 0.1, 5), recorded) == []
    assert len(deviating(entry(1 + 1.001 * edge, 0.1, 5), recorded)) == 1


def test_a_noisier_run_does_not_widen_its_own_gate() -> None:
    assert len(deviating(entry(3.0, 100.0, 5), entry(1.0, 0.1, 5))) == 1


def test_without_an_error_only_round_off_is_allowed() -> None:
    assert deviating(entry(1 + 1e-10), entry(1.0)) == []
    (message,) = deviating(entry(1 + 1e-6), entry(1.0))
    assert "no se and no tolerance" in message


@pytest.mark.parametrize(
    ("rule", "value", "deviates"),
    [
        ({"absolute": 0.2}, 1.19, False),
        ({"absolute": 0.2}, 1.21, True),
        ({"relative": 0.1}, 1.09, False),
        ({"relative": 0.1}, 0.89, True),
    ],
)
def test_a_tolerance_replaces_the_errors(rule: dict, value: float, deviates: bool) -> None:
    rules = {"a.*": rule | {"reason": "a test"}}
    for se in (None, 1e-9, 100.0):
        assert bool(deviating(entry(value, se), entry(1.0, se), rules)) is deviates


@pytest.mark.parametrize(
    ("se", "allowed"), [(None, 80.0), (0.0, 80.0), (1.0, 80.0), (100.0, 500 * math.sqrt(2))]
)
def test_a_lower_limit_gives_way_to_a_larger_error(se: float | None, allowed: float) -> None:
    rules = {"a.*": {"at_least": 80.0, "reason": "a grid of checkpoints"}}
    assert deviating(entry(480 + 0.999 * allowed), entry(480.0, se), rules) == []
    (message,) = deviating(entry(480 + 1.001 * allowed), entry(480.0, se), rules)
    assert ("5·√2·se" in message) is (se == 100.0)


@pytest.mark.parametrize("se", [None, 0.0])
def test_an_error_of_zero_counts_as_none(se: float | None) -> None:
    assert deviating(entry(480.0 + 1e-7, se), entry(480.0, se)) == []
    assert len(deviating(entry(480.01, se), entry(480.0, se))) == 1


def test_the_first_pattern_that_matches_decides() -> None:
    rules = {
        "a.b": {"absolute": 0.0, "reason": "exact"},
        "*": {"absolute": 9.0, "reason": "anything"},
    }
    assert len(deviating(entry(2.0), entry(1.0), rules)) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"absolute": 1.0},
        {"absolute": 1.0, "reason": " "},
        {"reason": "no size"},
        {"absolute": 1.0, "relative": 1.0, "reason": "both"},
        {"absolute": 1.0, "at_least": 1.0, "reason": "both"},
        {"absolute": -1.0, "reason": "negative"},
        {"absolute": "1e-4", "reason": "text"},
        {"absolute": 1.0, "reason": "typo", "relativ": 2},
        3.0,
    ],
)
def test_malformed_tolerances_are_refused_with_their_pattern(rule: object) -> None:
    with pytest.raises(ConfigError, match=r"toy\.x"):
        parse_tolerances({"toy.x": rule})


def test_timings_never_deviate() -> None:
    keys = ("toy.minutes", "run.default.minutes", "toy.chain_steps_per_second")
    keys += ("retraining.net.seconds.ekfac", "toy.resumed")
    assert all(map(is_timing, keys))
    assert not is_timing("toy.minutes_of_meeting")
    record = dict.fromkeys(keys, entry(1.0))
    assert list(deviations({}, record)) == []
    assert list(deviations(dict.fromkeys(keys, entry(99.0)), record)) == []


@pytest.mark.parametrize(
    ("found", "recorded", "deviates"),
    [
        (entry(None), entry(None), False),
        (entry(None), entry(1.0), True),
        (entry(1.0), entry(None), True),
        (entry(1.0, 0.1, 4), entry(1.0, 0.1, 5), True),
    ],
)
def test_absent_values_and_other_counts_deviate(
    found: dict, recorded: dict, deviates: bool
) -> None:
    assert bool(deviating(found, recorded)) is deviates


def test_missing_and_new_keys_are_told_apart() -> None:
    found, record = {"a.new": entry()}, {"a.gone": entry()}
    assert [d.key for d in deviations(found, record)] == ["a.gone"]
    assert unrecorded(found, record) == ["a.new"]


def run_check(folder: Path, found: dict, record: dict | None, *flags: str) -> int:
    paths = {"numbers": write(folder / "numbers.json", found)}
    paths["expected"] = folder / "expected.json"
    if record is not None:
        write(paths["expected"], record)
    paths["tolerances"] = ROOT / "paper/tolerances.yaml"
    return check.main([*flags, *(part for k, v in paths.items() for part in (f"--{k}", str(v)))])


def test_check_prints_deviations_and_fails_only_if_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, record = {"toy.x": entry(2.0, 0.1)}, {"toy.x": entry(1.0, 0.1)}
    assert run_check(tmp_path, found, record) == 0
    assert "toy.x is 2, the record says 1" in capsys.readouterr().out
    assert run_check(tmp_path, found, record, "--strict") == 1
    assert run_check(tmp_path, record, record, "--strict") == 0
    assert "0 deviate" in capsys.readouterr().out


def test_check_needs_no_record_but_whole_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(tmp_path, {"toy.x": entry()}, None, "--strict") == 0
    assert "make expected" in capsys.readouterr().out
    assert run_check(tmp_path, {"toy.x": {"value": 1}}, {}, "--strict") == 2
    assert "toy.x" in capsys.readouterr().err


def run_expected(folder: Path, found: dict, used: dict) -> int:
    """Runs the stage on a paper that needs toy.x alone."""
    lib = (ROOT / "paper/lib.typ").read_text(encoding="utf-8")
    folder.joinpath("lib.typ").write_text(lib, encoding="utf-8")
    folder.joinpath("main.typ").write_text('#import "lib.typ": *\n#num("toy.x")', encoding="utf-8")
    flags = {
        "numbers": write(folder / "numbers.json", found),
        "settings-file": write(folder / "settings.json", used),
        "default": DEFAULT,
        "source": folder / "main.typ",
        "out": folder / "record.json",
    }
    return expected.main([part for key, path in flags.items() for part in (f"--{key}", str(path))])


def test_expected_records_a_default_run(tmp_path: Path) -> None:
    found = {"toy.x": entry(1.5, 0.1, 5), "toy.y": entry(2)}
    assert run_expected(tmp_path, found, settings()) == 0
    assert json.loads((tmp_path / "record.json").read_text()) == found


def test_expected_refuses_other_settings_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = settings()
    used["toy"]["training"]["steps"] += 1
    assert run_expected(tmp_path, {"toy.x": entry()}, used) == 2
    assert "toy.training.steps differ" in capsys.readouterr().err
    assert not (tmp_path / "record.json").exists()


def test_expected_refuses_missing_and_vanished_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_expected(tmp_path, {"toy.y": entry()}, settings()) == 2
    assert "toy.x" in capsys.readouterr().err
    assert run_expected(tmp_path, {"toy.x": entry(), "toy.y": entry()}, settings()) == 0
    assert run_expected(tmp_path, {"toy.x": entry()}, settings()) == 2
    assert "toy.y" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 3, "0"),
        (0.012345, 3, "0.0123"),
        (-12.345, 3, "-12.3"),
        (312345.0, 3, "312345"),
        (1.5e-7, 2, r"1.5\times 10^{-7}"),
    ],
)
def test_significant_digits(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


@pytest.mark.parametrize(
    ("value", "se", "text"),
    [
        (0.99871, 0.00021, r"0.99871 \pm 0.00021"),
        (1234.5, 12.3, r"1234 \pm 12"),
        (1.5e-7, 2.0e-9, r"(1.500 \pm 0.020)\times 10^{-7}"),
        (7, None, "7"),
        (None, None, r"\text{none}"),
    ],
)
def test_numbers_in_latex(value: float | None, se: float | None, text: str) -> None:
    assert in_latex(entry(value, se)) == text


def test_an_unknown_key_stops_latex_with_its_name() -> None:
    assert r"\errmessage{stagewise: no number has the key #1}" in macros({"a.b": entry()})


def test_tables_group_keys_by_their_first_two_words() -> None:
    text = latex_tables({key: entry() for key in ("toy.a.x", "toy.a.y", "toy.b.x")})
    assert text.count(r"\begin{table}") == 2
    assert r"\label{tab:toy.a}" in text


def test_the_repositorys_tolerances_are_well_formed() -> None:
    path = ROOT / "paper/tolerances.yaml"
    assert parse_tolerances(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
