"""What sort of token is predicted, by its text and its neighbours: delimiter, word, digit, copy.

One rule for characters and for the pieces of a subword tokenizer. A token is what its text is;
where a word starts and ends, and whether a straight quote opens or closes, its neighbours say. A
token that completes a copy of something earlier in its sequence is an induction token, whatever its
text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from stagewise.config.token_classes import CLASSES
from stagewise.errors import ConfigError

LEFT, RIGHT, FORMATTING, START, PART, END, DIGIT, _, INDUCTION, OTHER = range(len(CLASSES))

#: Pairs of delimiters; the place is the kind that both sides share. No angle brackets: in code,
#: prompts and arrows they stand alone.
PAIRS = ("()", "[]", "{}", "“”", "‘’", "«»", '""', "''", "``")
#: Pairs whose sides look the same.
_STRAIGHT = frozenset("\"'`")
_LEFT = frozenset(left for left, right in PAIRS if left != right)
_RIGHT = frozenset(right for left, right in PAIRS if left != right)
_KIND = {char: kind for kind, pair in enumerate(PAIRS) for char in pair}
#: A text of quotes alone: which side it is, its neighbours say.
_QUOTE = len(CLASSES)


def token_classes(
    tokens: Int[np.ndarray, "sequence position"], text: Sequence[str], copied: int
) -> tuple[
    Int[np.ndarray, "sequence position-1"],
    Int[np.ndarray, "sequence position-1"],
]:
    """Return the class and the kind of every token but a sequence's first.

    By its text, white space at its ends set aside, a token is

    - formatting: white space only;
    - digit: digits only;
    - word start, word end or word part: letters (and apostrophes) only. It starts a word if white
      space leads its text or no letter ends the token before; else it ends one if no letter begins
      the token after; else, and at the end of a sequence, where the next token isn't known, it is
      a part. A word of one token is a start;
    - left or right delimiter: no letter or digit, and brackets or curly quotes of that side alone.
      Straight quotes between two letters or digits are apostrophes (other); after white space or
      an opening bracket, or before a letter or digit, they open; elsewhere they close;
    - other.

    Whatever the text, the token at t is an induction token if some s < t in the same sequence has
    x[s-k:s+1] = x[t-k:t+1], k = ``copied``: those before it, followed by it, stood there before.

    Args:
        tokens: Ids.
        text: What each id reads as, with its leading space.
        copied: Tokens k that a copy shares with the one before it, at least 1.

    Returns:
        Index into ``CLASSES``; and kind, a finer division: the pair of a delimiter (index into
        ``PAIRS``), the id of any other token.

    Raises:
        ConfigError: ``copied`` is less than 1, or an id has no text.
    """
    if copied < 1:
        raise ConfigError(f"copied is {copied}; a copy shares at least 1 token with its original")
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < len(text):
        raise ConfigError(
            f"token ids reach from {tokens.min()} to {tokens.max()}, the texts are of ids 0 to "
            f"{len(text) - 1}; pass the texts of the tokenizer that made the ids"
        )
    table = _described(text)
    this = tokens[:, 1:]
    found = table.token_class[this]
    found = np.where(found == PART, _place_in_word(table, tokens), found)
    found = np.where(found == _QUOTE, _side_of_quote(table, tokens), found)
    found = np.where(_copies(tokens, copied), INDUCTION, found)
    kind = np.where((found == LEFT) | (found == RIGHT), table.pair[this], this)
    return found.astype(np.int8), kind.astype(np.int32)


class _Described(NamedTuple):
    """What matters of each token's text, by id."""

    #: Of the text alone: ``PART`` for all of a word's, ``_QUOTE`` for straight quotes.
    token_class: Int[np.ndarray, " token"]
    #: Place in ``PAIRS`` of its first delimiter, -1 without one.
    pair: Int[np.ndarray, " token"]
    spaced: Bool[np.ndarray, " token"]
    first_letter: Bool[np.ndarray, " token"]
    last_letter: Bool[np.ndarray, " token"]
    first_alnum: Bool[np.ndarray, " token"]
    last_alnum: Bool[np.ndarray, " token"]
    #: Ends in white space or an opening bracket.
    opens: Bool[np.ndarray, " token"]


def _described(text: Sequence[str]) -> _Described:
    pairs = (next((_KIND[char] for char in one if char in _KIND), -1) for one in text)
    return _Described(
        np.array([_class_of(one) for one in text]),
        np.array(list(pairs)),
        *(
            np.array([test(one) for one in text], dtype=bool)
            for test in (
                lambda one: one[:1].isspace(),
                lambda one: one[:1].isalpha(),
                lambda one: one[-1:].isalpha(),
                lambda one: one[:1].isalnum(),
                lambda one: one[-1:].isalnum(),
                lambda one: one[-1:].isspace() or one[-1:] in _LEFT,
            )
        ),
    )


def _class_of(text: str) -> int:
    core = text.strip()
    if not core:
        return FORMATTING if text else OTHER
    if core.isdigit():
        return DIGIT
    if core.replace("'", "").replace("’", "").isalpha():
        return PART
    if _STRAIGHT.issuperset(core):
        return _QUOTE
    left, right = not _LEFT.isdisjoint(core), not _RIGHT.isdisjoint(core)
    if left == right or any(char.isalnum() for char in core):
        return OTHER
    return LEFT if left else RIGHT


def _after(flag: np.ndarray, tokens: np.ndarray, unknown: bool) -> np.ndarray:
    """Look a flag of the token after each predicted one up; the last has none after it."""
    following = np.full((len(tokens), tokens.shape[1] - 1), unknown)
    following[:, :-1] = flag[tokens[:, 2:]]
    return following


def _place_in_word(table: _Described, tokens: np.ndarray) -> np.ndarray:
    starts = table.spaced[tokens[:, 1:]] | ~table.last_letter[tokens[:, :-1]]
    goes_on = _after(table.first_letter, tokens, unknown=True)
    return np.select([starts, goes_on], [START, PART], END)


def _side_of_quote(table: _Described, tokens: np.ndarray) -> np.ndarray:
    spaced, before = table.spaced[tokens[:, 1:]], tokens[:, :-1]
    leads = _after(table.first_alnum, tokens, unknown=False)
    apostrophe = ~spaced & table.last_alnum[before] & leads
    opening = spaced | table.opens[before] | leads
    return np.select([apostrophe, opening], [OTHER, LEFT], RIGHT)


def _copies(tokens: np.ndarray, copied: int) -> np.ndarray:
    """Say which predicted tokens end a run of copied + 1 tokens that their sequence has had."""
    count, positions = tokens.shape
    seen = np.zeros((count, positions - 1), dtype=bool)
    if positions <= copied + 1:
        return seen
    runs = tokens[:, : positions - copied].astype(np.int64)
    for shift in range(1, copied + 1):
        # Numbered anew at each length, so that the codes of long runs don't overflow.
        _, runs = np.unique(runs, return_inverse=True)
        runs = runs.reshape(count, -1) * (int(tokens.max()) + 1)
        runs += tokens[:, shift : positions - copied + shift]
    # Equal runs stand together, in the order of their places: all but the first are copies.
    order = np.argsort(runs, axis=1, kind="stable")
    ordered = np.take_along_axis(runs, order, axis=1)
    again = np.zeros_like(ordered, dtype=bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    np.put_along_axis(seen[:, copied - 1 :], order, again, axis=1)
    return seen
