"""House style: formatted, small, named after the field, nothing unfinished."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.repository import PACKAGE, ROOT, committed_files, python_files, text_files

MOST_LINES = 400
MOST_BODY_LINES = 60
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
UNFINISHED = re.compile("NotImplemented" + "Error|\\bTO" + "DO\\b|\\bFIX" + "ME\\b|\\bX" + "XX\\b")
#: Root anchors of one person's machine, package indexes and private addresses.
MACHINES = re.compile(
    r"(?<![\w.}$*~/-])/(?:work|root|home|Users|opt|mnt|srv)/\w"
    r"|pythonhosted|pypi\.org/simple|download\.pytorch\.org|\bindex-url\b|\bfind-links\b"
    r"|(?<![\w.=])(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}\b"
)
#: Where index settings are named in order to be refused or left out.
MAY_NAME_INDEXES = {"Makefile", "requirements.lock", "tests/lint/test_style.py"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_tool(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    run_tool("ruff", "check", "--no-cache")


def test_everything_is_formatted() -> None:
    run_tool("ruff", "format", "--check", "--no-cache")


def test_the_workflow_is_formatted() -> None:
    rules = sorted(relative(path) for path in ROOT.glob("workflow/rules/*.smk"))
    run_tool("snakefmt", "--check", "Snakefile", *rules)


def test_snakemake_finds_nothing_in_the_workflow() -> None:
    run_tool("snakemake", "--lint")


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    code = (*python_files("src", "tests", "bench", ".ci"), *ROOT.glob("workflow/rules/*.smk"))
    long = {relative(path): count for path in code if (count := line_count(path)) >= MOST_LINES}
    assert long == {}


def test_no_function_body_is_longer_than_a_screen() -> None:
    long = []
    for path in python_files("src", "tests", "bench", ".ci"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if (size := body_length(node)) > MOST_BODY_LINES:
                    long.append(f"{relative(path)}:{node.lineno} {node.name}: {size} lines")
    assert long == []


def test_modules_are_named_after_what_they_hold() -> None:
    code = python_files("src", "tests", "bench")
    assert [relative(path) for path in code if SHAPELESS & set(path.with_suffix("").parts)] == []


def test_init_files_are_empty_but_the_roots() -> None:
    inits = {path for path in python_files("src") if path.name == "__init__.py"}
    full = {relative(path) for path in inits if path.read_text(encoding="utf-8").strip()}
    assert full == {"src/stagewise/__init__.py"}


def test_every_package_folder_has_an_init_file() -> None:
    folders = {path.parent for path in python_files("src")}
    assert [relative(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
    assert PACKAGE in folders


def test_nothing_is_left_unfinished() -> None:
    assert matches(UNFINISHED, python_files("src", "tests", "bench", ".ci")) == []


def test_no_machine_path_index_or_address_is_committed() -> None:
    texts = [path for path in text_files() if relative(path) not in MAY_NAME_INDEXES]
    assert matches(MACHINES, texts) == []


def test_this_clone_and_this_person_are_not_named() -> None:
    here = re.compile("|".join(re.escape(f"{folder}/") for folder in private_folders()))
    assert matches(here, text_files()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('open("/home/ada/data.nc")', True),
        ("cd /srv/project", True),
        ("--extra-index-url x", True),
        ("host 192.168.1.20", True),
        ("results/home/x.csv", False),
        ("{config}/work/x", False),
        ("see /etc/slurm/slurm.conf", False),
        ("version 10.2.1", False),
        ("library==10.4.0.35", False),
    ],
)
def test_the_search_for_machines_finds_what_it_should(text: str, found: bool) -> None:
    assert bool(MACHINES.search(text)) is found


def test_no_large_or_binary_file_is_committed() -> None:
    heavy = [relative(path) for path in committed_files() if path.stat().st_size > 1024**2]
    assert heavy == []


def matches(pattern: re.Pattern[str], paths: tuple[Path, ...] | list[Path]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:100]}")
    return found


def private_folders() -> list[Path]:
    """The clone and the home folder, unless they are too short to mean anything."""
    return [folder for folder in (ROOT, Path.home()) if len(folder.parts) > 1]


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Counts the lines of a function's body, its docstring left out."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body or body[-1].end_lineno is None:
        return 0
    return body[-1].end_lineno - body[0].lineno + 1
