"""Real English text that is already on the machine: the docstrings of an installed package.

They are read from the package's source with ``ast``, modules in sorted path order, so that one
locked version gives one text on every machine. Nothing of it is copied into the repository.
"""

import ast
import hashlib
import importlib.util
import inspect
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from stagewise.errors import ConfigError
from stagewise.seeds import generator

#: Characters that stand less often in the text are left out.
RARE = 50
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Text(NamedTuple):
    """A text as numbers.

    Attributes:
        ids: Index into ``characters`` of each character (place,).
        characters: In the order of their code points.
        source: What was read, for people.
        sha256: Of the text as it was read.
    """

    ids: Int[np.ndarray, " place"]
    characters: list[str]
    source: str
    sha256: str


def docstrings(package: str) -> Text:
    """Return the docstrings of an installed package, without those of its tests.

    Printable ASCII and newlines are kept, of these what stands at least ``RARE`` times.

    Raises:
        ConfigError: There is no such package, or it has no docstrings.
    """
    text = "\n\n".join(docstrings_of(package))
    counts = Counter(one for one in text if one == "\n" or " " <= one <= "~")
    characters = sorted(one for one, count in counts.items() if count >= RARE)
    if not characters:
        raise ConfigError(f"language text: package {package!r} has no docstrings; name another")
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    table = np.full(int(codes.max()) + 1, -1, np.int32)
    table[[ord(one) for one in characters]] = np.arange(len(characters))
    ids = table[codes]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Text(ids[ids >= 0], characters, f"docstrings of {package} {version(package)}", digest)


def docstrings_of(package: str) -> Iterator[str]:
    """Yield the docstrings of an installed package one by one, as `docstrings` reads them.

    Raises:
        ConfigError: There is no such package.
    """
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            f"language text: no installed package is called {package!r}; name one of the lock, "
            "such as 'pandas'"
        )
    return _docstrings(Path(next(iter(found.submodule_search_locations))))


def _docstrings(root: Path) -> Iterator[str]:
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    for name in paths:
        if "tests" in name.split("/"):
            continue
        tree = ast.parse((root / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and (found := ast.get_docstring(node, clean=False)):
                yield inspect.cleandoc(found)


def sequences(
    text: Text, length: int, count: int, seed: int
) -> Int[np.ndarray, "sequence position"]:
    """Cut ``count`` pieces of ``length`` + 1 characters that don't overlap, in random order.

    Raises:
        ConfigError: The text is too short.
    """
    whole = len(text.ids) // (length + 1)
    if whole < count:
        raise ConfigError(
            f"{text.source} has {len(text.ids)} characters, {whole} sequences of {length + 1}; "
            f"{count} are asked for: lower 'train', 'held' or 'length'"
        )
    pieces = text.ids[: whole * (length + 1)].reshape(whole, length + 1)
    chosen = generator(seed, "text", "sequences").permutation(whole)[:count]
    return pieces[chosen]


def unigram(text: Text) -> Float[np.ndarray, " token"]:
    """Return the frequency of each character."""
    counts = np.bincount(text.ids, minlength=len(text.characters)).astype(np.float64)
    return counts / counts.sum()


def bigram(text: Text) -> Float[np.ndarray, "token next_token"]:
    """Return the frequency of each character after each other.

    Half a count is spread over each row as the characters' own frequencies, so that no probability
    is zero.
    """
    size = len(text.characters)
    pairs = text.ids[:-1].astype(np.int64) * size + text.ids[1:]
    counts = np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.float64)
    counts += 0.5 * unigram(text)[None]
    return counts / counts.sum(axis=1, keepdims=True)
