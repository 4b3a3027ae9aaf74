"""Letters as leaves of a tree: script, case, base letter, letter with its diacritics.

The tree follows from Unicode names and decompositions alone, never from pixels:

    letters ─ LATIN ─ LATIN/capital ─ LATIN/capital/A ─ U+00C1 (Á)

Case stands above the base letter, so A and a meet at their script. What the tree can't say, that
they are one letter in two cases, is in the attributes and in `relation`.

Source: the Unicode Character Database of Python's ``unicodedata`` (names, canonical decompositions,
case folding).
"""

import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from stagewise.errors import ConfigError

Case = Literal["capital", "small", "caseless"]
#: From close to far; of several that hold, the first counts.
Relation = Literal[
    "self",
    "other form",
    "other case",
    "other diacritic",
    "other case and diacritic",
    "same script and case",
    "same script",
    "other script",
]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
ROOT = "letters"
_CASES: dict[str, Case] = {"Lu": "capital", "Lt": "capital", "Ll": "small"}
_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC")


class Letter(NamedTuple):
    """What Unicode says of a letter.

    Attributes:
        script: LATIN, GREEK or CYRILLIC.
        case: capital, small, or caseless (clicks and glottal stops).
        base: The letter without diacritics: the first character of the canonical decomposition,
            and of a letter that has none but is named "… WITH …" (Ø, đ, ґ) the letter named before
            "WITH". It has the letter's own case.
        diacritics: What was taken off, in order: combining characters, or the words after "WITH".
        folded: The letter regardless of case: Á and á, and Σ, σ and ς, share theirs.
        folded_base: The base regardless of case.
    """

    script: str
    case: Case
    base: str
    diacritics: tuple[str, ...]
    folded: str
    folded_base: str


class Taxonomy(NamedTuple):
    """Parents of all nodes of a tree, as `stagewise.storage.items.from_arrays` takes them.

    Attributes:
        id: Permanent ids; of leaves "U+0041" and so on, in the order of the letters.
        parent: Id of each node's parent, the empty string for the root.
        label: What people call the node.
    """

    id: list[str]
    parent: list[str]
    label: list[str]


def code_point(char: str) -> str:
    """Permanent id of a letter: "U+0041" for A."""
    return f"U+{ord(char):04X}"


def attributes(char: str) -> Letter:
    """Take a letter apart.

    Raises:
        ConfigError: Not one character, or no Latin, Greek or Cyrillic letter.
    """
    _check(char)
    base, diacritics = _take_apart(char)
    return Letter(
        script=unicodedata.name(char).split(" ")[0],
        case=_CASES.get(unicodedata.category(char), "caseless"),
        base=base,
        diacritics=diacritics,
        folded=_folded(char),
        folded_base=_folded(base),
    )


def relation(one: str, other: str) -> Relation:
    """How two letters are related by name, the closest relation that holds.

    Letters of different scripts are ``other script`` even where they are drawn alike. ``other
    form``: equal and of one case (σ and ς, θ and ϑ). ``other case``: equal but for case. ``other
    diacritic``: same base and case. ``other case and diacritic``: same base but for case.
    """
    if one == other:
        return "self"
    return _relation(attributes(one), attributes(other))


def relations(letters: Sequence[str]) -> np.ndarray:
    """The relation of every pair, as strings (letter, letter)."""
    known = [attributes(char) for char in letters]
    found = [[_relation(one, other) for other in known] for one in known]
    table = np.array(found, dtype=object)
    same = np.asarray(letters, dtype=object)
    table[same[:, None] == same[None, :]] = "self"
    return table.astype(str)


def taxonomy(letters: Sequence[str]) -> Taxonomy:
    """Make the tree whose leaves are these letters, all at depth 4.

    Inner nodes come first, from the root down, each sorted; a node without letters is left out.

    Raises:
        ConfigError: No letters, one twice, or as `attributes`.
    """
    _check_all(letters)
    paths = {char: _path(attributes(char)) for char in letters}
    nodes = {(ROOT,): ("", ROOT)}
    for level in range(1, 4):
        for path in sorted({path[: level + 1] for path in paths.values()}):
            nodes[path] = (_id(path[:-1]), path[-1])
    leaves = {code_point(char): (_id(path), char) for char, path in paths.items()}
    inner = {_id(path): node for path, node in nodes.items()}
    every = inner | leaves
    return Taxonomy(
        list(every), [parent for parent, _ in every.values()], [name for _, name in every.values()]
    )


def _path(letter: Letter) -> tuple[str, ...]:
    return (ROOT, letter.script, letter.case, letter.base)


def _id(path: tuple[str, ...]) -> str:
    return "/".join(path[1:]) or ROOT


def _take_apart(char: str) -> tuple[str, tuple[str, ...]]:
    """Base and diacritics: by canonical decomposition, then by name until no " WITH " is left."""
    base, *marks = unicodedata.normalize("NFD", char)
    name, joined, rest = unicodedata.name(base).partition(" WITH ")
    if joined:
        try:
            below = unicodedata.lookup(name)
        except KeyError:  # "GREEK UPSILON WITH HOOK SYMBOL": no letter is called GREEK UPSILON
            return base, tuple(marks)
        base, inner = _take_apart(below)
        return base, (*inner, rest, *marks)
    return base, tuple(marks)


def _folded(char: str) -> str:
    return unicodedata.normalize("NFC", char.casefold())


def _relation(one: Letter, other: Letter) -> Relation:
    if one.script != other.script:
        return "other script"
    same_case = one.case == other.case
    if one.folded == other.folded:
        return "other form" if same_case else "other case"
    if one.folded_base == other.folded_base:
        return "other diacritic" if same_case else "other case and diacritic"
    return "same script and case" if same_case else "same script"


def _check(char: str) -> None:
    if (
        len(char) != 1
        or not unicodedata.category(char).startswith("L")
        or unicodedata.name(char, "").split(" ")[0] not in _SCRIPTS
    ):
        raise ConfigError(
            f"{char!r} is no letter of the tree; allowed is one character of Unicode category L "
            f"whose name begins with {', '.join(_SCRIPTS)}: leave it out"
        )


def _check_all(letters: Sequence[str]) -> None:
    if not letters:
        raise ConfigError("the tree of letters has no leaves; give it one letter at least")
    twice = sorted({char for char in letters if list(letters).count(char) > 1})
    if twice:
        raise ConfigError(
            f"the letters {', '.join(twice)} come twice; ids are permanent: give each letter once"
        )
