"""The table of planted bugs is complete: each is named by a test, and each name is a bug."""

import ast
from pathlib import Path

import support.rejection  # noqa: F401  (it fills the table)
from support.mutants import MUTANTS

FOLDER = Path(__file__).parent


def named() -> set[str]:
    """The bugs that the decorator ``rejects`` names, in all files of this folder."""
    names = set()
    for path in FOLDER.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "rejects":
                names |= {argument.value for argument in node.args}
    return names


def test_every_bug_is_rejected_by_some_test() -> None:
    assert set(MUTANTS) - named() == set()


def test_every_name_is_a_bug() -> None:
    assert named() - set(MUTANTS) == set()


def test_every_bug_says_what_it_is() -> None:
    bugs = [mutant.bug for mutant in MUTANTS.values()]
    assert len(set(bugs)) == len(bugs)
