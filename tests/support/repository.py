"""What the repository consists of, for the tests that keep its house rules."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "stagewise"
#: What .gitignore leaves out, for a copy that is no git checkout.
BUILT = {".git", ".venv", ".snakemake", "results", "archive", "build", "__pycache__", "generated"}
#: How a module that is run with ``python -m`` ends.
MAIN = '\nif __name__ == "__main__":'
BINARY = {".png", ".pdf", ".ttf", ".nc", ".svg"}


@cache
def committed_files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, part of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        found = (path for path in ROOT.rglob("*") if not BUILT & set(path.relative_to(ROOT).parts))
        return tuple(sorted(path for path in found if path.is_file()))
    names = sorted(set(listing.stdout.split("\0")) - {""})
    return tuple(ROOT / name for name in names if (ROOT / name).is_file())


def text_files() -> tuple[Path, ...]:
    """The committed files that a person reads."""
    return tuple(path for path in committed_files() if path.suffix not in BINARY)


def python_files(*folders: str) -> tuple[Path, ...]:
    """The committed Python files under the named top-level folders."""
    return tuple(
        path
        for path in committed_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    )


#: Modules that hand their arguments to Snakemake, which they become.
SNAKEMAKES = ("stagewise.cli.workflow", "stagewise.cli.scheduler")


def package_modules() -> tuple[str, ...]:
    """Dotted names of every module of the package."""
    names = []
    for path in python_files("src"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return tuple(sorted(names))


def stage_modules() -> tuple[str, ...]:
    """The modules of stagewise.cli that are run with ``python -m`` and have flags of their own."""
    return tuple(
        name
        for name in package_modules()
        if name.startswith("stagewise.cli.")
        and name not in SNAKEMAKES
        and MAIN in source_of(name).read_text(encoding="utf-8")
    )


def source_of(module: str) -> Path:
    """The file of a module of the package."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
