"""Short documents: the beginnings of an installed package's docstrings, in characters.

The alphabet is fixed, newline and printable ASCII, so that documents of one package and text of
another are read by one model.
"""

import numpy as np
from jaxtyping import Int64

from stagewise.data.text import docstrings_of
from stagewise.errors import ConfigError

ALPHABET = "\n" + "".join(chr(code) for code in range(32, 127))


def encoded(text: str) -> Int64[np.ndarray, " place"]:
    """Return the places of characters in the alphabet; others are left out."""
    codes = np.frombuffer(text.encode("ascii", "ignore"), np.uint8)
    table = np.full(256, -1, np.int64)
    table[[ord(one) for one in ALPHABET]] = np.arange(len(ALPHABET))
    ids = table[codes]
    return ids[ids >= 0]


def beginnings(package: str, length: int) -> Int64[np.ndarray, "document position"]:
    """Return the first ``length`` + 1 characters of every docstring that has as many.

    In the order of the package's source; of documents that begin alike the first is kept.

    Raises:
        ConfigError: There is no such package, or it has no such docstring.
    """
    whole = [encoded(one)[: length + 1] for one in docstrings_of(package)]
    distinct = {one.tobytes(): one for one in reversed(whole) if len(one) == length + 1}
    if not distinct:
        raise ConfigError(
            f"package {package!r} has no docstring of {length + 1} characters; lower length, or "
            "name another"
        )
    return np.stack(list(reversed(distinct.values())))


def pieces(package: str, length: int) -> Int64[np.ndarray, "piece position"]:
    """Cut a package's docstrings, one after another, into pieces of ``length`` + 1 characters.

    Raises:
        ConfigError: There is no such package, or its text is shorter than one piece.
    """
    text = encoded("\n\n".join(docstrings_of(package)))
    count = len(text) // (length + 1)
    if not count:
        raise ConfigError(
            f"package {package!r} has docstrings of {len(text)} characters in all; lower length, "
            "or name another"
        )
    return text[: count * (length + 1)].reshape(count, length + 1)
