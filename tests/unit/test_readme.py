"""README and docs tell the truth: their code runs as written, their targets and files exist."""

import re
import subprocess
from pathlib import Path

import jaxtyping
import pytest
import torch

from support.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(
    path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))
))  # fmt: skip


def examples(page: str) -> list[str]:
    """Python blocks of a page, as a reader copies them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


EXAMPLES = [
    pytest.param(example, id=f"{page}-{place}")
    for page in PAGES
    for place, example in enumerate(examples(page))
]


def make_targets(text: str) -> set[str]:
    """Targets of make that a text tells its reader to run."""
    return set(re.findall(r"`(?:\$ )?make ([a-z][a-z-]*)", text))


def test_there_are_examples() -> None:
    assert len(examples("README.md")) >= 1
    assert len(examples("docs/your_model.md")) >= 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_python_examples_run_as_written(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jaxtyping.config.update("jaxtyping_disable", True)  # as a reader runs it
    torch.manual_seed(0)
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(example, "<example>", "exec"), names)
    stated = [line for line in example.splitlines() if line.startswith("assert ")]
    assert stated, "an example ends in an assertion, so that running it shows something"


@pytest.mark.parametrize("page", PAGES)
def test_targets_that_are_named_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    defined = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert make_targets((ROOT / page).read_text(encoding="utf-8")) <= defined


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_files_that_are_named_exist() -> None:
    """Source files and folders; what is built may be absent."""
    named = re.findall(r"`((?:src|workflow|config|profiles|tests|docs|bench)/[\w./]*)`", README)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    defined = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.split()[1] for line in done.stdout.splitlines()} == defined


def test_the_studies_are_listed() -> None:
    rules = (ROOT / "workflow/rules/studies.smk").read_text(encoding="utf-8")
    studies = re.findall(r'^    "(\w+)": ', rules.partition("STUDIES = {")[2], flags=re.MULTILINE)
    row = next(line for line in README.splitlines() if "make studies STUDY=" in line)
    assert re.findall(r"`(\w+)`", row.rpartition("one of them")[2]) == studies


def test_make_asks_for_rules_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    asked = set(re.findall(r"^\t@\$\(WORKFLOW\) ([a-z_]+)\b(?!/)", makefile, flags=re.M))
    files = (ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk"))
    rules = "".join(path.read_text(encoding="utf-8") for path in files)
    assert asked
    assert asked <= set(re.findall(r"^rule (\w+):", rules, flags=re.MULTILINE))
