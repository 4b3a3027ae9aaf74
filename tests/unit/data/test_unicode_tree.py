"""The tree of letters and their relations, by hand."""

import pytest

from stagewise.data.unicode_tree import (
    RELATIONS,
    attributes,
    code_point,
    relation,
    relations,
    taxonomy,
)
from stagewise.errors import ConfigError


@pytest.mark.parametrize(
    ("char", "expected"),
    [
        ("A", ("LATIN", "capital", "A", (), "a", "a")),
        ("á", ("LATIN", "small", "a", ("\u0301",), "á", "a")),
        ("ΐ", ("GREEK", "small", "ι", ("\u0308", "\u0301"), "ΐ", "ι")),
        ("Й", ("CYRILLIC", "capital", "И", ("\u0306",), "й", "и")),
        ("Ø", ("LATIN", "capital", "O", ("STROKE",), "ø", "o")),
        ("ǿ", ("LATIN", "small", "o", ("STROKE", "\u0301"), "ǿ", "o")),
        ("ґ", ("CYRILLIC", "small", "г", ("UPTURN",), "ґ", "г")),
        ("ς", ("GREEK", "small", "ς", (), "σ", "σ")),
        ("ϒ", ("GREEK", "capital", "ϒ", (), "ϒ", "ϒ")),
        ("ǃ", ("LATIN", "caseless", "ǃ", (), "ǃ", "ǃ")),
    ],
)
def test_attributes_by_hand(char, expected):
    """Decomposition alone would make Ø and ґ bases; names alone would miss ΐ's second mark."""
    assert tuple(attributes(char)) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("A", "A", "self"),
        ("σ", "ς", "other form"),
        ("A", "a", "other case"),
        ("Á", "á", "other case"),
        ("Σ", "ς", "other case"),
        ("A", "Á", "other diacritic"),
        ("À", "Á", "other diacritic"),
        ("A", "á", "other case and diacritic"),
        ("A", "B", "same script and case"),
        ("A", "b", "same script"),
        ("A", "Α", "other script"),
        ("A", "А", "other script"),
    ],
)
def test_relations_by_hand(one, other, expected):
    """Homoglyphs are of other scripts by name, whatever they look like."""
    assert relation(one, other) == relation(other, one) == expected
    assert relations([one, other])[0, 1] == expected
    assert expected in RELATIONS


def test_the_table_of_relations_is_symmetric_with_self_on_its_diagonal():
    """σ and ς share a folded letter, yet neither is itself the other."""
    table = relations(["a", "A", "ä", "σ", "ς", "д"])
    assert (table == table.T).all()
    assert ((table == "self").nonzero()[0] == (table == "self").nonzero()[1]).all()
    assert (table.diagonal() == "self").all()


def test_the_tree_by_hand():
    """Parents first, leaves in the letters' order at depth 4, bases in the letter's own case."""
    tree = taxonomy(["b", "Á", "A", "а"])
    assert list(zip(tree.id, tree.parent, tree.label, strict=True)) == [
        ("letters", "", "letters"),
        ("CYRILLIC", "letters", "CYRILLIC"),
        ("LATIN", "letters", "LATIN"),
        ("CYRILLIC/small", "CYRILLIC", "small"),
        ("LATIN/capital", "LATIN", "capital"),
        ("LATIN/small", "LATIN", "small"),
        ("CYRILLIC/small/а", "CYRILLIC/small", "а"),
        ("LATIN/capital/A", "LATIN/capital", "A"),
        ("LATIN/small/b", "LATIN/small", "b"),
        ("U+0062", "LATIN/small/b", "b"),
        ("U+00C1", "LATIN/capital/A", "Á"),
        ("U+0041", "LATIN/capital/A", "A"),
        ("U+0430", "CYRILLIC/small/а", "а"),
    ]


def test_code_points_have_four_digits_at_least():
    assert (code_point("A"), code_point("ﬁ"), code_point("\U0001d400")) == (
        "U+0041",
        "U+FB01",
        "U+1D400",
    )


@pytest.mark.parametrize("char", ["", "AB", "1", "א", "\u0301"])
def test_what_is_no_letter_of_the_tree_is_refused(char):
    with pytest.raises(ConfigError, match="no letter"):
        attributes(char)


def test_no_letters_or_one_twice_are_refused():
    with pytest.raises(ConfigError, match="no leaves"):
        taxonomy([])
    with pytest.raises(ConfigError, match="come twice"):
        taxonomy(["A", "b", "A"])
