"""Which files of the package a stage runs, so that an edit reruns its dependants and nothing else.

Snakemake sees the shell command of a rule, not the package behind it. Every rule therefore lists
the files that its stage imports as inputs. They are found by reading import statements, without
importing anything: parsing the workflow must stay fast, on every cluster node as well.
"""

import ast
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = "stagewise"
#: What was found for each stage: its files, relative to SOURCE, and the digest of them.
_FOUND: dict[str, tuple[list[str], str]] = {}
_INHERITED: dict[str, tuple[list[str], str]] = {}


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
    return [os.path.relpath(SOURCE / name) for name in _found(module)[0]]


def digest(module: str) -> str:
    """Returns the sha256 of names and contents of the files that `code` lists.

    As a rule's parameter it catches what Snakemake's comparison of input files cannot: a file
    edited while the job that had read it was still running, or replaced by an older one.
    """
    return _found(module)[1]


def hand_down(path: Path) -> None:
    """Writes what was found for those who read the workflow next, such as jobs on a cluster.

    Where nothing can be written, they look for themselves.
    """
    if _FOUND == _INHERITED:
        return
    temporary = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"package": package_digest(), "found": _FOUND}
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(path)


def inherit(path: Path) -> None:
    """Reads what `hand_down` wrote, if the package is what it was then to the byte."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["package"] == package_digest():
            _INHERITED.update({key: tuple(found) for key, found in record["found"].items()})
            _FOUND.update(_INHERITED)


def package_digest() -> str:
    """Returns the sha256 of names and contents of all files of the package: a tenth of the walk."""
    total = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((SOURCE / PACKAGE).rglob("*")):
        if path.suffix != ".pyc" and path.is_file():
            total.update(f"{path.relative_to(SOURCE)}\0{_file_digest(path)}\n".encode())
    return total.hexdigest()


def _found(module: str) -> tuple[list[str], str]:
    if module not in _FOUND:
        names = [path.relative_to(SOURCE).as_posix() for path in _closure(module)]
        total = hashlib.sha256()
        for name in names:
            total.update(f"{name}\0{_file_digest(SOURCE / name)}\n".encode())
        _FOUND[module] = names, total.hexdigest()
    return _FOUND[module]


@cache
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names if _is_ours(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            imports |= set(_from_import(path, node))
    beside = _data_beside(path.parent)
    texts = _texts(tree) if beside else set()
    return frozenset(imports), frozenset(file for file in beside if file.name in texts)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields all statements, nested ones too, without a look at the expressions in them.

    Every job on a cluster reads the workflow again, and this is a fifth of the time of `ast.walk`.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, block, ())


def _texts(tree: ast.Module) -> set[str]:
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


@cache
def _data_beside(folder: Path) -> frozenset[Path]:
    """Returns the files of a folder that are not code, of which a module there may name some."""
    return frozenset(
        path for path in folder.iterdir() if path.suffix not in ("", ".py") and path.is_file()
    )


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
