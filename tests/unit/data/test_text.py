"""Text from docstrings, its statistics, and sequences with triggers."""

import numpy as np
import pytest

from stagewise.data.bigram import triggered_sequences
from stagewise.data.text import bigram, docstrings, sequences, unigram
from stagewise.errors import ConfigError

#: A small package, so that reading it takes no time.
PACKAGE = "xarray"


@pytest.fixture(scope="module")
def text():
    return docstrings(PACKAGE)


def test_the_text_is_english_and_the_same_every_time(text) -> None:
    read = "".join(text.characters[one] for one in text.ids[:20_000])
    assert read.lower().count("the ") > 50
    assert docstrings(PACKAGE).sha256 == text.sha256


def test_an_unknown_package_is_refused() -> None:
    with pytest.raises(ConfigError, match="no_such_package"):
        docstrings("no_such_package")


def test_frequencies_are_those_of_the_text(text) -> None:
    table, single = bigram(text), unigram(text)
    np.testing.assert_allclose(table.sum(1), 1)
    q = text.characters.index("q")
    assert text.characters[table[q].argmax()] == "u"
    # What follows, averaged over what stands before, is the text itself but for half a count a row.
    np.testing.assert_allclose(single @ table, single, atol=1e-3)


def test_sequences_do_not_overlap_and_are_the_texts_own(text) -> None:
    found = sequences(text, 50, 200, seed=3)
    whole = text.ids[: len(text.ids) // 51 * 51].reshape(-1, 51)
    places = {row.tobytes() for row in whole}
    assert all(row.tobytes() in places for row in found)
    with pytest.raises(ConfigError, match="lower 'train'"):
        sequences(text, 50, 10**7, seed=3)


def drawn(count: int, triggers: int = 3):
    rng = np.random.default_rng(0)
    single = rng.dirichlet(np.full(12, 5.0))
    table = rng.dirichlet(np.full(12, 1.0), size=12)
    return (
        triggered_sequences(
            single, table, length=40, count=count, triggers=triggers, pool=8, seed=1
        ),
        table,
    )


def test_after_a_trigger_stands_what_stood_there_before() -> None:
    found, _ = drawn(200)
    for tokens, repeated in zip(found.tokens, found.repeated, strict=True):
        for place in np.flatnonzero(repeated):
            earlier = np.flatnonzero(tokens[:place] == tokens[place])
            assert len(earlier) > 0
            assert (tokens[earlier + 1] == tokens[place + 1]).all()


def test_triggers_are_frequent_tokens() -> None:
    found, _ = drawn(200)
    counts = np.bincount(found.tokens[:, :-1][found.first], minlength=12)
    assert (counts > 0).sum() == 8


def test_a_trigger_is_first_once() -> None:
    found, _ = drawn(200)
    assert found.first.sum(1).max() <= 3
    for tokens, first in zip(found.tokens, found.first, strict=True):
        triggers = tokens[:-1][first]
        assert len(set(triggers.tolist())) == len(triggers)


def test_elsewhere_the_bigram_model_rules() -> None:
    """Chi-squared over the rows; false-fail rate 1e-6."""
    from scipy import stats

    found, table = drawn(4000)
    free = ~(found.first | found.repeated)
    before, after = found.tokens[:, :-1][free], found.tokens[:, 1:][free]
    counts = np.zeros((12, 12))
    np.add.at(counts, (before, after), 1)
    expected = counts.sum(1, keepdims=True) * table
    keep = expected > 5
    statistic = ((counts - expected) ** 2 / expected)[keep].sum()
    assert statistic < stats.chi2.isf(1e-6, keep.sum())


def test_more_triggers_than_the_pool_are_refused() -> None:
    with pytest.raises(ConfigError, match="ask for fewer"):
        drawn(1, triggers=9)
