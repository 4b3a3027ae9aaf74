"""Glyph classes: letters that are drawn differently, and augmented renderings of each.

Latin A, Greek Α and Cyrillic А have one drawing in most faces. How alike two letters are is
measured on their renderings, never listed: distance = 1 − mean over faces of the cosine between
their pixels (ink positive, centred across, one baseline).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from stagewise.data.glyph_render import FACES, SCRIPTS, available, faces, render
from stagewise.data.unicode_tree import attributes, code_point
from stagewise.errors import ConfigError
from stagewise.seeds import generator

__all__ = ["faces", "render"]

#: Letters at most this far apart are one drawing. Measured at 32 pixels over the 16 faces: plain
#: Latin and Greek capitals that look alike are 0.0000 to 0.0018 apart, Latin and Cyrillic ones up
#: to 0.0075, small letters up to 0.0138 (e and е, which STIX draws differently).
HOMOGLYPH = 0.01
#: Letters must be further apart than this to be classes of their own: about where pairs begin that
#: differ by a mark of other shape (Ć and Č 0.033); marks nearly alike are nearer (Õ and Ö 0.020).
DISTINCT = 0.03
#: Letters of one base, in both cases, that a selection takes before it goes on to another base.
_FAMILY = 3


class Alphabet(NamedTuple):
    """Letters chosen as classes.

    Attributes:
        letters: The classes, a letter's place being its label: first the distinct letters by
            script and code point, then the added homoglyphs.
        pairs: (a distinct letter, the homoglyph of another script added for it).
    """

    letters: list[str]
    pairs: list[tuple[str, str]]


class Augmentation(NamedTuple):
    """How far renderings vary: each number is drawn uniformly within its range.

    Attributes:
        rotation: Largest turn to either side, degrees.
        scale: Smallest and largest size, as a factor.
        shear: Largest slant to either side, shift per height.
        shift: Largest shift along each axis, as a fraction of the image's side.
        stroke: Largest thickening of outlines, as a fraction of the side.
    """

    rotation: float = 8.0
    scale: tuple[float, float] = (0.85, 1.0)
    shear: float = 0.1
    shift: float = 0.05
    stroke: float = 0.02


class Glyphs(NamedTuple):
    """Renderings of letters.

    Attributes:
        images: Ink 0 to 255 (sample, 1, size, size); `pixels` makes network inputs of them.
        labels: Place of the sample's letter in the alphabet (sample,).
        ids: "U+0041/DejaVuSans-Bold/3": letter, face, number of the rendering.
        letters: Letter of each sample.
        faces: Face of each sample.
    """

    images: UInt8[np.ndarray, "sample 1 size size"]
    labels: Int64[np.ndarray, " sample"]
    ids: list[str]
    letters: list[str]
    faces: list[str]


def pixels(
    images: UInt8[np.ndarray, "sample 1 size size"],
) -> Float32[np.ndarray, "sample 1 size size"]:
    """Ink from 0 (paper) to 1, not standardised."""
    return images.astype(np.float32) / np.float32(255)


def glyph_set(
    letters: Sequence[str],
    faces: Sequence[str],
    per_face: int,
    seed: int,
    name: str,
    size: int = 32,
    augmentation: Augmentation | None = None,
) -> Glyphs:
    """Render every letter in every face ``per_face`` times, letters slowest.

    A rendering is a function of (seed, name, id) and of nothing else: more letters, faces or
    renderings leave it as it is. Sets of different names share ids but no augmentation.

    Args:
        letters: Classes in the order of their labels.
        faces: Of `faces`.
        per_face: Renderings of each letter in each face, at least 1.
        seed: Root seed.
        name: Of the set, "train" say.
        size: Side of the images in pixels.
        augmentation: How far renderings vary; by default `Augmentation`'s own ranges.

    Raises:
        ConfigError: Nothing to render, a letter or face twice, or as `render`.
    """
    _check_set(letters, faces, per_face)
    ranges = augmentation or Augmentation()
    keys = [
        (label, char, face, number)
        for label, char in enumerate(letters)
        for face in faces
        for number in range(per_face)
    ]
    ids = [f"{code_point(char)}/{face}/{number}" for _, char, face, number in keys]
    images = np.empty((len(keys), 1, size, size), dtype=np.uint8)
    for index, (_, char, face, _) in enumerate(keys):
        rng = generator(seed, "glyphs", name, ids[index])
        images[index, 0] = _augmented(char, face, size, ranges, rng)
    return Glyphs(
        images=images,
        labels=np.array([label for label, *_ in keys], dtype=np.int64),
        ids=ids,
        letters=[char for _, char, *_ in keys],
        faces=[face for _, _, face, _ in keys],
    )


def choose_letters(
    count: int, seed: int, keep_homoglyph_pairs: int = 0, threshold: float = DISTINCT
) -> Alphabet:
    """Choose letters of which any two are drawn further than ``threshold`` apart.

    The three scripts take turns, and a script that has no more letters is passed over. A script
    gives its bases one after the other, those with most letters first, equals in random order: the
    base and two random diacritics on it, each in all cases that are there, and what is left over
    after the last base. So letters with the same base, or alike but for case, come in number.

    A positive control: ``keep_homoglyph_pairs`` of the letters get a homoglyph of another script
    (distance at most `HOMOGLYPH`) as a class of its own, after the ``count`` distinct ones. Where
    the two are one drawing no network can tell their classes apart, so their images lose ln 2 at
    best on average, and what one of the two classes gains the other loses.

    Args:
        count: Distinct letters, at least 2.
        seed: Root seed.
        keep_homoglyph_pairs: Homoglyphs to add.
        threshold: Least distance of two distinct letters.

    Raises:
        ConfigError: More letters or pairs than there are.
    """
    distinct = distinct_letters(threshold)
    if not 2 <= count <= len(distinct):
        raise ConfigError(
            f"{count} glyph classes are asked for; allowed are 2 to {len(distinct)} at a distance "
            f"of {threshold}: change the number, or lower the threshold"
        )
    rng = generator(seed, "glyphs", "letters")
    queues = [_queue(script, distinct, rng) for script in SCRIPTS]
    turns = [unit for turn in range(max(map(len, queues))) for unit in _turn(queues, turn)]
    chosen = [char for unit in turns for char in unit][:count]
    chosen.sort(key=lambda char: (SCRIPTS.index(attributes(char).script), char))
    pairs = _pairs(chosen, keep_homoglyph_pairs, generator(seed, "glyphs", "pairs"))
    return Alphabet(chosen + [other for _, other in pairs], pairs)


def distinct_letters(threshold: float = DISTINCT) -> list[str]:
    """As many of the shared letters as a greedy walk finds, any two further apart than this.

    Letters of the largest families (same script, same base) are taken first, so that of several
    homoglyphs the one with most relatives stays; then Latin, Greek, Cyrillic; then code point.
    """
    letters = available()
    known = [attributes(char) for char in letters]
    families = [(one.script, one.folded_base) for one in known]
    order = sorted(
        range(len(letters)),
        key=lambda place: (
            len(known[place].diacritics) > 0,
            -families.count(families[place]),
            SCRIPTS.index(known[place].script),
            letters[place],
        ),
    )
    far = distances() > threshold
    kept: list[int] = []
    for place in order:
        if far[place, kept].all():
            kept.append(place)
    return [letters[place] for place in sorted(kept)]


def homoglyph_groups(threshold: float = HOMOGLYPH) -> list[list[str]]:
    """Letters drawn alike: those that a chain of pairs within the threshold connects.

    Groups of one are left out. Groups and their members are sorted by code point.
    """
    from scipy.sparse.csgraph import connected_components

    letters = available()
    count, group = connected_components(distances() <= threshold, directed=False)
    members: list[list[str]] = [[] for _ in range(count)]
    for char, place in zip(letters, group, strict=True):
        members[place].append(char)
    return sorted(chars for chars in members if len(chars) > 1)


@functools.cache
def distances(
    names: tuple[str, ...] = FACES, size: int = 32
) -> Float64[np.ndarray, "letter letter"]:
    """1 − mean over faces of the cosine of two letters' pixels, for all shared letters.

    Ink is centred across to a quarter of a pixel before it is averaged down, so letters that
    differ in their side bearings alone are as near as they look. Rows are in the order of
    `glyph_render.available`; 0 is the same drawing in every face. About 3 s once per process.
    """
    letters = available(names)
    total = np.zeros((len(letters), len(letters)))
    for face in names:
        ink = np.stack([render(char, face, size).ravel() for char in letters]).astype(np.float64)
        ink /= np.linalg.norm(ink, axis=1, keepdims=True)
        total += ink @ ink.T
    found = np.clip(1 - total / len(names), 0, None)
    np.fill_diagonal(found, 0.0)
    found.setflags(write=False)
    return found


def _queue(script: str, distinct: Sequence[str], rng: np.random.Generator) -> list[list[str]]:
    """The order in which a script gives its letters; an entry is one letter in its cases."""
    families: dict[str, dict[str, list[str]]] = {}
    for char in distinct:
        letter = attributes(char)
        if letter.script == script:
            units = families.setdefault(letter.folded_base, {})
            units.setdefault(letter.folded, []).append(char)
    shuffled = [list(families)[place] for place in rng.permutation(len(families))]
    first: list[list[str]] = []
    rest: list[list[str]] = []
    for base in sorted(shuffled, key=lambda base: -_size(families[base])):
        units = families[base]
        order = [list(units)[place] for place in rng.permutation(len(units))]
        order.sort(key=lambda folded: folded != base)
        first += [units[folded] for folded in order[:_FAMILY]]
        rest += [units[folded] for folded in order[_FAMILY:]]
    return first + rest


def _size(units: dict[str, list[str]]) -> int:
    """Letters that a family gives at once."""
    return sum(sorted((len(unit) for unit in units.values()), reverse=True)[:_FAMILY])


def _turn(queues: list[list[list[str]]], turn: int) -> list[list[str]]:
    return [queue[turn] for queue in queues if turn < len(queue)]


def _pairs(chosen: Sequence[str], count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Random homoglyphs in other scripts, none used twice, ordered by the letter they are for."""
    letters = available()
    alike = distances() <= HOMOGLYPH
    found: list[tuple[str, str]] = []
    used = set(chosen)
    for place in rng.permutation(len(chosen)):
        char = chosen[place]
        near = (letters[other] for other in np.flatnonzero(alike[letters.index(char)]))
        others = [other for other in near if other not in used and _foreign(char, other)]
        if others:
            found.append((char, others[int(rng.integers(len(others)))]))
            used.add(found[-1][1])
    if not 0 <= count <= len(found):
        raise ConfigError(
            f"keep_homoglyph_pairs is {count}; allowed are 0 to {len(found)} with these "
            f"{len(chosen)} letters: keep fewer pairs or choose more letters"
        )
    return sorted(found[:count])


def _foreign(one: str, other: str) -> bool:
    first, second = attributes(one), attributes(other)
    return first.script != second.script and first.case == second.case


def _augmented(
    char: str, face: str, size: int, ranges: Augmentation, rng: np.random.Generator
) -> UInt8[np.ndarray, "size size"]:
    turn, larger, slant, right, up, thick = rng.random(6)
    low, high = ranges.scale
    return render(
        char,
        face,
        size,
        rotation=ranges.rotation * (2 * turn - 1),
        scale=low + (high - low) * larger,
        shear=ranges.shear * (2 * slant - 1),
        shift=tuple(ranges.shift * size * (2 * one - 1) for one in (right, up)),
        stroke=ranges.stroke * size * thick,
    )


def _check_set(letters: Sequence[str], faces: Sequence[str], per_face: int) -> None:
    if not letters or not faces or per_face < 1:
        raise ConfigError(
            f"{len(letters)} letters in {len(faces)} faces, {per_face} times each, are no glyph "
            "set; take at least one of each"
        )
    for what, names in (("letter", list(letters)), ("face", list(faces))):
        twice = sorted({one for one in names if names.count(one) > 1})
        if twice:
            raise ConfigError(
                f"the {what}s {', '.join(twice)} come twice; ids are permanent: name each once"
            )
