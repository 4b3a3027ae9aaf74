"""Nouns of WordNet as a tree, read from a local dictionary folder.

ImageNet names its classes by WordNet 3.0: "n01440764" is the noun that stands at byte 1440764 of
``data.noun``. That file alone is read, without NLTK: NLTK's reader also wants ``lexnames`` and
``index.sense``, which Debian's wordnet-base leaves out, and refuses folders outside NLTK's own. The
tests compare the two.

Source: Fellbaum 1998, "WordNet: An Electronic Lexical Database"; the manual page wndb(5WN) for the
format.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from stagewise.data.unicode_tree import Taxonomy
from stagewise.errors import ConfigError

#: Where Debian's and Ubuntu's wordnet-base put the dictionary.
DEBIAN_FOLDER = Path("/usr/share/wordnet")
_VERSION = "3.0"
_WNID = re.compile(r"n(\d{8})")
#: Pointers to a hypernym: of a kind, and of a single instance.
_HYPERNYMS = ("@", "@i")


#: Which of several hypernyms the tree keeps.
Way = Literal["shortest", "longest"]


class Synset(NamedTuple):
    """A noun of WordNet.

    Attributes:
        wnid: "n01440764".
        lemmas: Its words, the commonest first, with spaces.
        hypernyms: Ids right above it, in the file's order.
        sense_keys: Key of each word in WordNet's counts.
    """

    wnid: str
    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]
    sense_keys: tuple[str, ...]


class WordNet:
    """The nouns of a dictionary; a synset is parsed when it is first asked for.

    A noun can have several hypernyms, and a tree keeps one. On the shortest way to the root a dog
    is a domestic animal and no carnivore, so it is far from a wolf; on the longest it is a canine.
    """

    def __init__(self, folder: Path = DEBIAN_FOLDER, way: Way = "shortest") -> None:
        """Open a dictionary folder.

        Args:
            folder: Holds ``data.noun`` of WordNet 3.0.
            way: Which way to the root the tree keeps for every node.

        Raises:
            ConfigError: No such file, or one of another version, whose ids mean other nouns.
        """
        self._way: Way = way
        self.folder = Path(folder)
        path = self.folder / "data.noun"
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise ConfigError(_missing(path)) from error
        version = re.search(rb"Word[nN]et (\S+) Copyright", self._data[:8192])
        if version and version[1].decode(errors="replace") != _VERSION:
            raise ConfigError(
                f"{path} is WordNet {version[1].decode(errors='replace')}; ids of ImageNet are "
                f"those of WordNet {_VERSION}: {_REMEDY}"
            )
        self._synsets: dict[str, Synset] = {}
        self._depths: dict[str, int] = {}

    def synset(self, wnid: str) -> Synset:
        """The noun with this id.

        Raises:
            ConfigError: No id of a noun, or no noun begins at its place in the file.
        """
        if wnid not in self._synsets:
            self._synsets[wnid] = _parsed(wnid, self._line(wnid))
        return self._synsets[wnid]

    def parent(self, wnid: str) -> str | None:
        """The hypernym that the tree keeps, None for a root.

        Of several the one nearest to a root (farthest, if the longest way is kept), of equally near
        ones the smallest id. So the tree holds a shortest (longest) way to a root for every node.

        Raises:
            ConfigError: As `synset`, or hypernyms that lead back to where they start.
        """
        above = self.synset(wnid).hypernyms
        sign = 1 if self._way == "shortest" else -1
        return min(above, key=lambda one: (sign * self.depth(one), one)) if above else None

    def depth(self, wnid: str) -> int:
        """Edges of the way to a root that the tree keeps.

        Raises:
            ConfigError: As `parent`.
        """
        self._measure(wnid, ())
        return self._depths[wnid]

    def way(self, wnid: str) -> list[str]:
        """Ids from the root down to this noun, by `parent`.

        Raises:
            ConfigError: As `parent`.
        """
        found = [wnid]
        while (parent := self.parent(found[-1])) is not None:
            found.append(parent)
        return found[::-1]

    def _measure(self, wnid: str, below: tuple[str, ...]) -> None:
        if wnid in self._depths:
            return
        if wnid in below:
            raise ConfigError(
                f"in {self.folder / 'data.noun'} the hypernyms of {wnid} lead back to it; {_REMEDY}"
            )
        above = self.synset(wnid).hypernyms
        for one in above:
            self._measure(one, (*below, wnid))
        chosen = min if self._way == "shortest" else max
        self._depths[wnid] = 1 + chosen((self._depths[one] for one in above), default=-1)

    def _line(self, wnid: str) -> str:
        match = _WNID.fullmatch(wnid)
        if match is None:
            raise ConfigError(f"{wnid!r} is no id of a noun; allowed are n and eight digits")
        start = int(match[1])
        end = self._data.find(b"\n", start)
        line = self._data[start : end if end >= 0 else None].decode("utf-8", errors="replace")
        first = start == 0 or self._data[start - 1 : start] == b"\n"
        if not first or not line.startswith(f"{match[1]} "):
            raise ConfigError(
                f"WordNet {_VERSION} in {self.folder} has no noun {wnid}; allowed are ids of its "
                "synsets: correct the id, or remove the folder that is named so"
            )
        return line


def taxonomy(wordnet: WordNet, wnids: Sequence[str]) -> Taxonomy:
    """Make the tree over some nouns: they and all nodes on their ways to the root.

    Nodes come parents first, those of one depth by id. Two of the nouns may stand above one
    another; then the upper one is no leaf. WordNet's nouns have one root (entity).

    Raises:
        ConfigError: No nouns, one twice, or as `WordNet.parent`.
    """
    twice = sorted({one for one in wnids if list(wnids).count(one) > 1})
    if twice or not wnids:
        raise ConfigError(
            f"{len(wnids)} nouns, of which {len(twice)} come twice ({', '.join(twice[:3])}); give "
            "one at least, and each once"
        )
    parents: dict[str, tuple[int, str]] = {}
    for wnid in wnids:
        above = ""
        for depth, node in enumerate(wordnet.way(wnid)):
            parents[node] = (depth, above)
            above = node
    ids = sorted(parents, key=lambda node: (parents[node][0], node))
    return Taxonomy(
        ids, [parents[node][1] for node in ids], [wordnet.synset(node).lemmas[0] for node in ids]
    )


def sense_counts(wordnet: WordNet, wnids: Iterable[str]) -> list[int]:
    """How often each noun was tagged in WordNet's own corpora (``cntlist.rev``), mostly 0.

    Counts of a noun itself, not of nouns below it. They are what the information content of Lin's
    similarity can rest on, smoothed.

    Raises:
        ConfigError: No such file, or as `WordNet.synset`.
    """
    path = wordnet.folder / "cntlist.rev"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(_missing(path)) from error
    counts = {line.split()[0]: int(line.split()[2]) for line in lines if "%1:" in line}
    return [
        sum(counts.get(key, 0) for key in set(wordnet.synset(wnid).sense_keys)) for wnid in wnids
    ]


_REMEDY = (
    "install Debian's package wordnet-base (its folder is "
    f"{DEBIAN_FOLDER}), or unpack WordNet-3.0.tar.gz from wordnet.princeton.edu and name its "
    "folder dict"
)


def _missing(path: Path) -> str:
    return f"there is no readable WordNet file {path}; {_REMEDY}"


def _parsed(wnid: str, line: str) -> Synset:
    """Parse a line: offset lex_file type words (word lex_id)… pointers (symbol offset pos …)… |."""
    fields = line.partition("|")[0].split()
    try:
        count = int(fields[3], 16)
        words, numbers = fields[4 : 4 + 2 * count : 2], fields[5 : 5 + 2 * count : 2]
        start = 4 + 2 * count
        symbols, offsets, parts = (
            fields[start + 1 + k : start + 1 + 4 * int(fields[start]) : 4] for k in range(3)
        )
        above = [
            f"n{offset}"
            for symbol, offset, part in zip(symbols, offsets, parts, strict=True)
            if symbol in _HYPERNYMS and part == "n"
        ]
        keys = [
            f"{word.lower()}%1:{int(fields[1]):02d}:{int(number, 16):02d}::"
            for word, number in zip(words, numbers, strict=True)
        ]
    except (IndexError, ValueError) as error:
        raise ConfigError(f"{wnid} is not in WordNet's format ({error}); {_REMEDY}") from error
    return Synset(wnid, tuple(word.replace("_", " ") for word in words), tuple(above), tuple(keys))
