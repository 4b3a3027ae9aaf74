"""One source of versions: pyproject's ranges, the lock's pins and the conda wrapper agree."""

import ast
import importlib.metadata
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.repository import ROOT, python_files

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: torch release -> the torchvision whose wheels are built against it.
PAIRS = {"2.11.0": "0.26.0"}
#: Import name -> distribution, where they differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "huggingface_hub": "huggingface-hub",
    "pydantic_core": "pydantic",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}


def locked() -> dict[str, Requirement]:
    """Every pin of the lock, hashes stripped."""
    pins = {}
    for block in re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n?", "", LOCK).strip()):
        pin = Requirement(block.split(" \\")[0].strip())
        pins[canonicalize_name(pin.name)] = pin
    return pins


def version(pin: Requirement) -> Version:
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return Version(specifier.version)


def declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    listed = (*PROJECT["dependencies"], *extras["bench"], *extras["cluster"], *extras["dev"])
    return [Requirement(text) for text in listed]


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_the_lock_is_within_the_declared_range(requirement: Requirement) -> None:
    pin = locked()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version(pin))


def test_every_pin_has_hashes() -> None:
    blocks = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n?", "", LOCK).strip())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert len(blocks) > 50


def test_the_lock_names_no_index() -> None:
    options = [line for line in LOCK.splitlines() if line.startswith("-")]
    assert options == []
    assert "://" not in LOCK


def test_every_library_that_the_package_imports_is_declared() -> None:
    """What only comes along with another library may leave with it."""
    imported = set()
    for path in python_files("src"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    libraries = imported - set(sys.stdlib_module_names) - {PROJECT["name"]}
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert {DISTRIBUTIONS.get(name, name) for name in libraries} - names == set()


def test_torch_and_torchvision_are_a_pair() -> None:
    pins = locked()
    assert PAIRS[str(version(pins["torch"]))] == str(version(pins["torchvision"]))


def test_the_build_back_end_is_locked() -> None:
    """The package is installed without build isolation, so its build tools come from the lock."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    for text in build["requires"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(version(locked()[requirement.name]))


def test_what_runs_here_is_what_is_locked() -> None:
    wrong = {}
    for name, pin in locked().items():
        if pin.marker is None or pin.marker.evaluate():
            if (found := importlib.metadata.version(name)) != str(version(pin)):
                wrong[name] = found
    assert wrong == {}


def test_the_conda_wrapper_adds_only_a_python_that_the_project_allows() -> None:
    environment: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, wrapped = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert pip == "pip"
    assert wrapped == {"pip": ["-r requirements.lock"]}
    allowed = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert allowed.contains(python.removeprefix("python="))


def test_the_version_is_stated_once_and_repeated_truly() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    package = importlib.import_module("stagewise")
    assert PROJECT["version"] == package.__version__ == citation["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


class TestInstaller:
    """Decisions of .ci/install.py; that it installs is seen by every run of make test."""

    install = runpy.run_path(str(ROOT / ".ci" / "install.py"), run_name="install")

    def test_a_matching_stamp_calls_for_nothing(self) -> None:
        wanted = self.install["identity"]()
        assert self.install["action"](dict(wanted), wanted) == "nothing"

    def test_a_changed_lock_calls_for_an_update(self, tmp_path: Path) -> None:
        for name in ("requirements.lock", "pyproject.toml"):
            (tmp_path / name).write_text("before")
        before = self.install["identity"](tmp_path)
        (tmp_path / "requirements.lock").write_text("after")
        assert self.install["action"](before, self.install["identity"](tmp_path)) == "update"

    def test_a_moved_clone_calls_for_a_rebuild(self) -> None:
        wanted = self.install["identity"]()
        moved = {**wanted, "folder": "elsewhere"}
        assert self.install["action"](moved, wanted) == "rebuild"

    def test_an_interrupted_install_calls_for_a_rebuild(self) -> None:
        assert self.install["action"](None, self.install["identity"]()) == "rebuild"

    @pytest.mark.parametrize("text", ["", "{", "null", "[]"])
    def test_a_broken_stamp_counts_as_none(
        self, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").touch()
        stamp = tmp_path / "stamp.json"
        stamp.write_text(text)
        scope = self.install["read_stamp"].__globals__
        monkeypatch.setitem(scope, "STAMP", stamp)
        monkeypatch.setitem(scope, "VENV", tmp_path)
        assert self.install["read_stamp"]() is None
