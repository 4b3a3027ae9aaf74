"""The import contract, and that the array side never pays for torch."""

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from support.repository import ROOT, package_modules, python_files, source_of, stage_modules

ARRAY_SIDE = ("storage", "estimators", "evaluation", "plotting")
BASE = ("stagewise", "files", "provenance", "seeds", "config", "errors", "theory")
#: Libraries whose import alone takes longer than a stage of the array side may take to start.
HEAVY = ("torch", "torchvision", "arviz", "sklearn", "snakemake")
TORCH_SIDE = re.compile(
    r"^\s*from stagewise\.(training|sampling|baselines|models|data|api|calibration|conformance)\b",
    re.MULTILINE,
)


def test_contracts_hold() -> None:
    command = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_our_own_modules_are_never_imported_by_string() -> None:
    """The walk that lists a rule's code reads import statements only."""
    found = {
        path.relative_to(ROOT).as_posix() for path in python_files("src") if imports_by_string(path)
    }
    # Neither is run by a rule: the names people import, and the commands people type.
    assert found == {"src/stagewise/__init__.py", "src/stagewise/cli/main.py"}


@pytest.mark.parametrize("heavy", HEAVY)
def test_array_side_and_base_do_not_load(heavy: str) -> None:
    assert heavy not in loaded_by(modules_of(*BASE, *ARRAY_SIDE))


def test_stages_that_use_nothing_of_the_torch_side_start_without_torch() -> None:
    light = [
        stage
        for stage in stage_modules()
        if TORCH_SIDE.search(source_of(stage).read_text(encoding="utf-8")) is None
    ]
    assert light
    script = "import importlib, sys\n" + "".join(
        f"importlib.import_module({stage!r}); assert 'torch' not in sys.modules, {stage!r}\n"
        for stage in light
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", stage_modules())
def test_every_stage_explains_itself(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = importlib.import_module(stage).main(["--help"])
    except SystemExit as ended:
        status = ended.code
    assert status == 0
    assert len(capsys.readouterr().out) > 100


def imports_by_string(path: Path) -> bool:
    """Tells whether a file imports by name anything but a library that it names in full."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0]
            if not isinstance(name, ast.Constant) or str(name.value).startswith("stagewise"):
                return True
    return False


def modules_of(*rooms: str) -> tuple[str, ...]:
    """Every module of the named rooms; ``stagewise`` names the root itself."""
    return tuple(name for name in package_modules() if (name.split(".") * 2)[1] in rooms)


@cache
def loaded_by(modules: tuple[str, ...]) -> frozenset[str]:
    """Top-level packages in memory after importing the modules in a fresh interpreter."""
    imports = "".join(f"import {name}\n" for name in modules)
    report = "import json, sys; print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", imports + report], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return frozenset(json.loads(done.stdout))
