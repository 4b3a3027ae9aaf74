"""Which files of the package a stage runs, so that an edit reruns its dependants and nothing else.

Snakemake sees the shell command of a rule, not the package behind it. Every rule therefore lists
the files that its stage imports as inputs. They are found by reading import statements, without
importing anything: parsing the workflow must stay fast, on every cluster node as well.
"""

import ast
import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = "stagewise"


class ImportStyleError(Exception):
    """An import that the walk cannot follow; the message names the line and the remedy."""


def code(module: str) -> list[str]:
    """Lists the files of the package that running `module` may read, sorted.

    Followed are all import statements, also those inside functions; an imported module brings the
    ``__init__`` files of its ancestors and the data files that it names (such as a style sheet).

    Args:
        module: Dotted name of a stage, such as ``stagewise.cli.toy_train``.

    Returns:
        Paths relative to the working directory, which Snakemake sets before it reads this.

    Raises:
        ImportStyleError: A file imports relatively, or a name of the lazy root package.
    """
    return [os.path.relpath(path) for path in _closure(module)]


def digest(module: str) -> str:
    """Returns the sha256 of names and contents of the files that `code` lists.

    As a rule's parameter it catches what Snakemake's comparison of input files cannot: a file
    edited while the job that had read it was still running, or replaced by an older one.
    """
    total = hashlib.sha256()
    for path in _closure(module):
        total.update(f"{path.relative_to(SOURCE).as_posix()}\0{_file_digest(path)}\n".encode())
    return total.hexdigest()


@cache
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _closure(module: str) -> tuple[Path, ...]:
    found: set[Path] = set()
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _file(name)
        if path is None:
            raise ImportStyleError(f"{name}: no such module under {SOURCE}")
        imports, data = _read(path)
        found |= {path, *data}
        waiting += [*imports, *_ancestors(name)]
    return tuple(sorted(found))


@cache
def _read(path: Path) -> tuple[frozenset[str], frozenset[Path]]:
    """Returns the modules of the package that a file imports, and the data files it names."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    imports: set[str] = set()
    data: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names if _is_ours(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            imports |= set(_from_import(path, node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            data |= set(_data_file(path, node.value))
    return frozenset(imports), frozenset(data)


def _from_import(path: Path, node: ast.ImportFrom) -> Iterator[str]:
    if node.level:
        raise ImportStyleError(
            f"{path}:{node.lineno}: relative import; write `from {PACKAGE}.… import …`"
        )
    if node.module is None or not _is_ours(node.module):
        return
    yield node.module
    for alias in node.names:
        if _file(f"{node.module}.{alias.name}") is not None:
            yield f"{node.module}.{alias.name}"
        elif node.module == PACKAGE and alias.name not in _assigned(_file(PACKAGE)):
            raise ImportStyleError(
                f"{path}:{node.lineno}: {alias.name} is looked up by the lazy root package, "
                f"which hides where it comes from; import it from its own module"
            )


@cache
def _assigned(path: Path) -> frozenset[str]:
    """Returns the names that a module's own statements give a value."""
    statements = [
        node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.Assign)
    ]
    targets = [target for node in statements for target in node.targets]
    return frozenset(target.id for target in targets if isinstance(target, ast.Name))


def _data_file(path: Path, text: str) -> Iterator[Path]:
    """Yields the file beside `path` that a string of its code names, unless it is code itself."""
    if 0 < len(text) <= 100 and "." in text and "/" not in text and "\0" not in text:
        candidate = path.parent / text
        if candidate.suffix not in ("", ".py") and candidate.is_file():
            yield candidate


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


@cache
def _file(name: str) -> Path | None:
    base = SOURCE.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + ".")
