"""Classes of tokens: texts written out by hand, and copies against a search by brute force.

Caught: neighbours taken from the wrong side, a word's end at the end of a sequence that may go on,
apostrophes taken for quotes, copies found in another sequence or without their context, codes of
long runs that overflow.
"""

import numpy as np
import pytest

from stagewise.config.token_classes import CLASSES
from stagewise.data.token_classes import INDUCTION, PAIRS, token_classes
from stagewise.errors import ConfigError

#: A letter for each class that text alone decides.
LETTERS = {
    "l": "left delimiter",
    "r": "right delimiter",
    "f": "formatting",
    "s": "word start",
    "p": "word part",
    "e": "word end",
    "d": "digit",
    "o": "other",
}
NEVER = 50


def pieces(text: list[str]) -> tuple[np.ndarray, list[str]]:
    """One sequence of these texts, and the text of every id."""
    known = sorted(set(text))
    return np.array([[known.index(one) for one in text]]), known


def letters(text: list[str]) -> str:
    """The classes of all but the first, a letter each."""
    tokens, known = pieces(text)
    names = [CLASSES[index] for index in token_classes(tokens, known, NEVER)[0][0]]
    return "".join(letter for name in names for letter, one in LETTERS.items() if one == name)


def test_characters_by_hand() -> None:
    text = ". I say\n(big \"cat\", isn't 'it') {42} “so”…"
    wanted = "f s f spe f l spe f l spe r o f spe o s f l se r r f l dd r f l se r o"
    assert letters(list(text)) == wanted.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ([".", " the", " un", "believ", "able", ".", "\n\n", "The", "\t"], "s s p e o f s f"),
        ([".", " 12", "34", "x1", " x_", "�", "", "²"], "d d o o o o d"),
        ([".", " (", ").", "([", "];", "()", "=(", "(x", ">", " }"], "l r l r o l o o r"),
        ([".", " don", "'t", " '", "a", "'", ")", '="', "b", '"""', " "], "s e l s r r o s r f"),
        ([".", "été", " über", "日本", "<|endoftext|>"], "s s e o"),
        ([" a", "b"], "p"),  # the word may go on
        ([" a", '"'], "r"),
        ([" ", "'", "'", "x", "'", "'"], "l l s r r"),
    ],
)
def test_pieces_by_hand(text: list[str], wanted: str) -> None:
    assert letters(text) == wanted.replace(" ", "")


def test_both_sides_of_a_pair_are_of_one_kind_and_other_tokens_their_own() -> None:
    tokens, known = pieces([".", "(", " [", "].", ")", "a", "{", '"', "}", '"', "."])
    kinds = token_classes(tokens, known, NEVER)[1][0].tolist()
    names = ["()", "[]", "[]", "()", known.index("a"), "{}", '""', "{}", '""', known.index(".")]
    assert kinds == [PAIRS.index(one) if isinstance(one, str) else one for one in names]


def copies(tokens: np.ndarray, copied: int) -> np.ndarray:
    """Looks for each predicted token and its context at every earlier place."""
    found = np.zeros((len(tokens), tokens.shape[1] - 1), dtype=bool)
    for row, line in enumerate(tokens.tolist()):
        for t in range(copied, len(line)):
            earlier = (line[s - copied : s + 1] for s in range(copied, t))
            found[row, t - 1] = line[t - copied : t + 1] in earlier
    return found


@pytest.mark.parametrize("copied", [1, 2, 3, 6, 11, 12])
@pytest.mark.parametrize("vocabulary", [2, 5, 50_000])
def test_copies_are_those_that_a_search_finds(copied: int, vocabulary: int) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, vocabulary, (40, 12))
    tokens[:20, 6:] = tokens[:20, :6]
    text = ["."] * vocabulary
    classes, kind = token_classes(tokens, text, copied)
    found = classes == INDUCTION
    np.testing.assert_array_equal(found, copies(tokens, copied))
    assert found.any() or copied >= 6
    np.testing.assert_array_equal(kind, tokens[:, 1:])


def test_copies_stay_within_their_sequence_and_override_what_the_text_says() -> None:
    tokens, known = pieces(list("ab(cd)ab("))
    rows = np.concatenate([tokens, np.roll(tokens, 3, axis=1)])
    classes, kind = token_classes(rows, known, 2)
    assert (classes == INDUCTION).sum(axis=1).tolist() == [1, 1]
    assert CLASSES[classes[0, -1]] == "induction"
    assert kind[0, -1] == known.index("(")
    assert CLASSES[classes[0, 1]] == "left delimiter"


def test_what_cannot_be_classed_is_refused() -> None:
    tokens = np.array([[0, 1, 2]])
    with pytest.raises(ConfigError, match="copied is 0"):
        token_classes(tokens, ["a", "b", "c"], 0)
    with pytest.raises(ConfigError, match="from 0 to 2, the texts are of ids 0 to 1"):
        token_classes(tokens, ["a", "b"], 1)
