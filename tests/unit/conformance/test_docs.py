"""The page on conformance tells the truth: its adapter has 20 lines, runs as written and passes."""

import re

from support.repository import ROOT

PAGE = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_example_runs_as_written() -> None:
    (example,) = EXAMPLES
    assert example.strip().splitlines()[-1].startswith("assert ")
    exec(compile(example, "<example of docs/conformance.md>", "exec"), {"__name__": "example"})


def test_the_adapter_has_twenty_lines_at_most() -> None:
    body = re.search(r"^class MySampler:\n(.*?)\n\n\n", EXAMPLES[0], re.DOTALL | re.MULTILINE)
    assert body is not None
    assert len([line for line in body[0].splitlines() if line.strip()]) <= 20


def test_columns_that_are_explained_exist() -> None:
    from stagewise.conformance.suite import COLUMNS

    named = set(re.findall(r"^- `(\w+)`", PAGE, flags=re.MULTILINE))
    assert named
    assert named <= set(COLUMNS)


def test_settings_that_are_named_exist() -> None:
    from stagewise.conformance.problem import Settings

    sentence = re.search(r"`problem.settings` holds (.*?);", PAGE, re.DOTALL)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(Settings.__dataclass_fields__)
