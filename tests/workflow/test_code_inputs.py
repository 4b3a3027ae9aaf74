"""workflow/imports.py: the files that a stage runs, read from its import statements."""

from pathlib import Path

import pytest

from support.repository import ROOT, stage_modules
from support.workflow import load_imports


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one file for each way to be imported."""
    files = {
        "stagewise/__init__.py": '__version__ = "1"\n_LAZY = {"bif": "stagewise.lazy"}\n',
        "stagewise/lazy.py": "",
        "stagewise/unused.py": "",
        "stagewise/deep/__init__.py": "import stagewise.ancestor\n",
        "stagewise/deep/leaf.py": 'STYLE = "house.mplstyle"\n',
        "stagewise/deep/house.mplstyle": "font.size: 8\n",
        "stagewise/ancestor.py": "",
        "stagewise/inside.py": "",
        "stagewise/plain.py": "from stagewise import __version__\n",
        "stagewise/cli/__init__.py": "",
        "stagewise/cli/stage.py": (
            "import numpy\n"
            "import stagewise.plain as plain\n"
            "from stagewise.deep import leaf\n"
            "def run():\n"
            "    from stagewise.inside import thing\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_follows_every_import_and_nothing_else(source: Path) -> None:
    assert load_imports(source).code("stagewise.cli.stage") == [
        "stagewise/__init__.py",
        "stagewise/ancestor.py",
        "stagewise/cli/__init__.py",
        "stagewise/cli/stage.py",
        "stagewise/deep/__init__.py",
        "stagewise/deep/house.mplstyle",
        "stagewise/deep/leaf.py",
        "stagewise/inside.py",
        "stagewise/plain.py",
    ]


@pytest.mark.parametrize("name", ["stagewise/inside.py", "stagewise/deep/house.mplstyle"])
def test_the_digest_follows_the_content(source: Path, name: str) -> None:
    before = load_imports(source).digest("stagewise.cli.stage")
    (source / "stagewise/unused.py").write_text("# edited\n")
    (source / name).touch()
    assert load_imports(source).digest("stagewise.cli.stage") == before
    (source / name).write_text("# edited\n")
    assert load_imports(source).digest("stagewise.cli.stage") != before


def test_what_was_found_is_handed_down(source: Path, tmp_path: Path) -> None:
    """Catches an answer that another walk would not give, and one that is looked for twice."""
    run, job, stage = load_imports(source), load_imports(source), "stagewise.cli.stage"
    found = run.code(stage), run.digest(stage)
    run.hand_down(tmp_path / "found.json")
    job._closure = None  # no walk
    job.inherit(tmp_path / "found.json")
    assert (job.code(stage), job.digest(stage)) == found


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"package": 1, "found": {}}'])
def test_a_spoilt_answer_is_looked_for_again(source: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "found.json").write_text(text)
    job = load_imports(source)
    job.inherit(tmp_path / "found.json")
    assert job.code("stagewise.cli.stage") == load_imports(source).code("stagewise.cli.stage")


def test_any_edit_of_the_package_is_looked_for_again(source: Path, tmp_path: Path) -> None:
    """Catches an answer that outlives the code, whatever its files' times say."""
    run, job, stage = load_imports(source), load_imports(source), "stagewise.cli.stage"
    found = run.digest(stage)
    run.hand_down(tmp_path / "found.json")
    (source / "stagewise/inside.py").write_text("import stagewise.unused\n")
    job.inherit(tmp_path / "found.json")
    assert job.digest(stage) == load_imports(source).digest(stage) != found


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("from .deep import leaf", "relative import; write `from stagewise"),
        ("from stagewise import bif", "import it from its own module"),
        ("import stagewise.absent", "no such module"),
    ],
)
def test_what_it_cannot_follow_is_refused(source: Path, line: str, remedy: str) -> None:
    (source / "stagewise/plain.py").write_text(line + "\n")
    imports = load_imports(source)
    with pytest.raises(imports.ImportStyleError, match=remedy):
        imports.code("stagewise.cli.stage")


@pytest.mark.parametrize("stage", stage_modules())
def test_every_stage_can_be_followed(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    files = load_imports().code(stage)
    assert f"src/{stage.replace('.', '/')}.py" in files
    assert "src/stagewise/cli/__init__.py" in files
