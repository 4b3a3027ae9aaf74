"""Glyphs: what faces have, where letters stand, which are drawn alike, what a seed settles."""

from collections import Counter

import numpy as np
import pytest

from stagewise.data.glyph_render import _OVERSAMPLING, available, charmap
from stagewise.data.glyphs import (
    DISTINCT,
    HOMOGLYPH,
    Augmentation,
    choose_letters,
    distances,
    distinct_letters,
    faces,
    glyph_set,
    homoglyph_groups,
    pixels,
    render,
)
from stagewise.data.unicode_tree import attributes, relations
from stagewise.errors import ConfigError

SANS = "DejaVuSans"
STILL = Augmentation(rotation=0, scale=(1, 1), shear=0, shift=0, stroke=0)


def ink(char, face=SANS, size=32, **changes):
    return render(char, face, size, **changes).astype(float)


def rows(image):
    return np.flatnonzero(image.max(axis=1) > 32)


def centre(image):
    """Centre of mass: to the right and upwards, from the middle of the image."""
    places = np.arange(len(image)) + 0.5 - len(image) / 2
    return image.sum(0) @ places / image.sum(), -(image.sum(1) @ places) / image.sum()


def distance(one, other):
    letters = available()
    return distances()[letters.index(one), letters.index(other)]


def test_faces_are_sorted_and_their_names_permanent():
    """Ids hold the names."""
    assert faces() == sorted(faces())
    assert len(faces()) == 16
    assert {"DejaVuSansMono-Bold", "DejaVuSerif-Italic", "STIXGeneralBolIta"} < set(faces())


def test_letters_are_those_that_every_face_really_has():
    """A face draws a box for what it lacks, and a class of boxes would be learned well."""
    letters = available()
    assert all(set(letters) <= charmap(face) for face in faces())
    assert len(letters) == 556
    scripts = Counter(attributes(char).script for char in letters)
    assert scripts == {"LATIN": 370, "GREEK": 88, "CYRILLIC": 98}
    assert "Ӏ" not in letters


def test_letters_stand_on_one_baseline_at_one_scale():
    """Fitting each letter to the image would make o and O one drawing."""
    bottom = {char: rows(ink(char))[-1] for char in "HExnoI"}
    assert max(bottom.values()) - min(bottom.values()) <= 1
    assert rows(ink("p"))[-1] > bottom["H"] + 2
    assert rows(ink("o"))[0] > rows(ink("O"))[0] + 2
    assert rows(ink("Ô"))[0] < rows(ink("O"))[0]
    assert rows(ink("Ô"))[-1] == rows(ink("O"))[-1]


def test_no_letter_leaves_the_image():
    """A diacritic that is cut off makes two letters one."""
    for face in faces():
        for char in available():
            image = render(char, face)
            edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            assert edge.max() < 16, (char, face)


def test_ink_is_centred_across_and_antialiased():
    image = ink("l")
    columns = np.flatnonzero(image.max(axis=0))
    assert abs((columns[0] + columns[-1] + 1) / 2 - 16) <= 0.5
    assert ((image > 0) & (image < 255)).any()
    assert image.max() > 250


def test_size_scales_the_drawing():
    """Side 64 averaged over 2 × 2 is side 32 but for hinting: 1 − cosine under 2%."""
    small = ink("R")
    large = ink("R", size=64).reshape(32, 2, 32, 2).mean(axis=(1, 3))
    cosine = (small * large).sum() / np.linalg.norm(small) / np.linalg.norm(large)
    assert 1 - cosine < 0.02


def test_shifts_are_in_pixels_to_the_right_and_up():
    """One pixel of slack would hide a missing factor of the oversampling."""
    before, after = centre(ink("x")), centre(ink("x", shift=(3.0, 2.0)))
    assert after[0] - before[0] == pytest.approx(3, abs=1 / _OVERSAMPLING)
    assert after[1] - before[1] == pytest.approx(2, abs=1 / _OVERSAMPLING)


def test_a_quarter_turn_is_counterclockwise_about_the_middle():
    """Clockwise, a foot would come out on the left."""
    np.testing.assert_allclose(ink("L", rotation=90), np.rot90(ink("L")), atol=1)


def test_scale_and_shear_move_points_as_they_say():
    """Scale multiplies the centre's place; shear moves it by shear × height."""
    right, up = centre(ink("x"))
    assert centre(ink("x", scale=0.5)) == pytest.approx((right / 2, up / 2), abs=0.15)
    assert centre(ink("x", shear=0.5)) == pytest.approx((right + 0.5 * up, up), abs=0.15)


def test_a_stroke_grows_to_both_sides():
    """Anchoring the stroked letter elsewhere would shift it."""
    plain, thick = ink("o"), ink("o", stroke=0.75)
    assert thick.sum() > 1.2 * plain.sum()
    assert (thick >= plain - 64).all()
    assert centre(thick) == pytest.approx(centre(plain), abs=0.3)


def test_homoglyphs_are_found_by_their_pixels():
    """Latin and Greek capitals are one drawing; I and l, O and Q, o and O are not."""
    groups = homoglyph_groups()
    assert ["A", "Α", "А"] in groups
    assert ["O", "Ο", "О"] in groups
    assert ["Π", "П"] in groups
    assert distance("T", "Τ") < 1e-3
    for one, other in ("Il", "OQ", "oO", "RР", "bЬ"):
        assert distance(one, other) > DISTINCT
    assert all(len({attributes(char).case for char in group}) == 1 for group in groups)


def test_distances_are_symmetric_and_never_negative():
    table = distances()
    assert (table == table.T).all()
    assert (table.diagonal() == 0).all()
    assert (table >= 0).all()


def test_distinct_letters_are_far_apart_and_whole_families_stay():
    """A greedy walk by code point would keep Ё and drop Ë's Latin relatives."""
    letters = available()
    kept = distinct_letters()
    assert len(kept) == 476
    places = [letters.index(char) for char in kept]
    between = distances()[np.ix_(places, places)][np.triu_indices(len(kept), 1)]
    assert between.min() > DISTINCT
    assert set("ABCabcÅåЖжΔδ") <= set(kept)
    assert not set("АΑВΒ") & set(kept)


def test_chosen_letters_are_spread_over_scripts_and_cases_with_relations_in_number():
    """A random draw has few letters that differ by case or diacritic alone."""
    chosen = choose_letters(200, 0)
    assert len(chosen.letters) == len(set(chosen.letters)) == 200
    known = [attributes(char) for char in chosen.letters]
    assert min(Counter(one.script for one in known).values()) >= 60
    assert min(Counter(one.case for one in known).values()) >= 80
    table = relations(chosen.letters)[np.triu_indices(200, 1)]
    counts = Counter(table.tolist())
    assert counts["other case"] >= 60
    assert counts["other diacritic"] >= 60


def test_the_choice_is_settled_by_the_seed():
    assert choose_letters(60, 0) == choose_letters(60, 0)
    assert choose_letters(60, 0).letters != choose_letters(60, 1).letters


def test_homoglyphs_are_added_after_the_distinct_letters():
    """Labels of the distinct letters must not move when a control is added."""
    plain, control = choose_letters(200, 0), choose_letters(200, 0, keep_homoglyph_pairs=5)
    assert control.letters[:200] == plain.letters
    assert control.letters[200:] == [other for _, other in control.pairs]
    assert plain.pairs == []
    for one, other in control.pairs:
        assert one in plain.letters
        assert distance(one, other) <= HOMOGLYPH
        assert attributes(one).script != attributes(other).script


def test_a_set_names_and_orders_its_samples():
    found = glyph_set(["A", "ж"], [SANS, "STIXGeneral"], 2, 0, "train")
    assert found.images.shape == (8, 1, 32, 32)
    assert found.labels.tolist() == [0] * 4 + [1] * 4
    assert found.ids[1:3] == ["U+0041/DejaVuSans/1", "U+0041/STIXGeneral/0"]
    assert found.letters == ["A"] * 4 + ["ж"] * 4
    assert found.faces[:4] == [SANS, SANS, "STIXGeneral", "STIXGeneral"]
    assert len({image.tobytes() for image in found.images}) == 8


def test_a_rendering_depends_on_seed_name_and_id_alone():
    """Drawing from one stream in turn would change every image when a letter is added."""
    few = glyph_set(["ж"], [SANS], 2, 0, "train")
    many = glyph_set(["A", "ж"], ["STIXGeneral", SANS], 3, 0, "train")
    for index, one in enumerate(few.ids):
        same = many.images[many.ids.index(one)]
        np.testing.assert_array_equal(few.images[index], same)
    for other in (glyph_set(["ж"], [SANS], 2, 1, "train"), glyph_set(["ж"], [SANS], 2, 0, "test")):
        assert other.ids == few.ids
        assert (other.images != few.images).any()


def test_augmentation_can_be_turned_off():
    found = glyph_set(["A"], [SANS], 2, 0, "train", augmentation=STILL)
    np.testing.assert_array_equal(found.images[0, 0], render("A", SANS))
    np.testing.assert_array_equal(found.images[0], found.images[1])


def test_pixels_are_ink_from_0_to_1():
    found = pixels(glyph_set(["A"], [SANS], 1, 0, "train", augmentation=STILL).images)
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: render("A", "Comic"), "no face is called"),
        (lambda: render("中", SANS), "has no"),
        (lambda: render("AB", SANS), "one character"),
        (lambda: render("A", SANS, 4), "size is 4"),
        (lambda: render("A", SANS, scale=0), "scale is 0"),
        (lambda: render("A", SANS, stroke=-1), "stroke is -1"),
        (lambda: choose_letters(1, 0), "allowed are 2"),
        (lambda: choose_letters(500, 0), "476"),
        (lambda: choose_letters(20, 0, keep_homoglyph_pairs=99), "keep_homoglyph_pairs is 99"),
        (lambda: glyph_set([], [SANS], 1, 0, "train"), "no glyph set"),
        (lambda: glyph_set(["A"], [SANS], 0, 0, "train"), "no glyph set"),
        (lambda: glyph_set(["A", "A"], [SANS], 1, 0, "train"), "letters A come twice"),
        (lambda: glyph_set(["A"], [SANS, SANS], 1, 0, "train"), "come twice"),
    ],
)
def test_what_can_not_be_drawn_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
