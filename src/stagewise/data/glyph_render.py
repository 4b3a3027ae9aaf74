"""Letters drawn as small images, from the fonts that matplotlib ships.

Every letter of a face stands on one baseline and has one scale, so that case, ascenders and
diacritics keep their sizes; ink is centred across. Source: DejaVu 2.37 and STIX General 1.0, as in
matplotlib's data folder; nothing is downloaded.
"""

import functools
import math
import unicodedata
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from stagewise.errors import ConfigError

#: Faces with Latin, Greek and Cyrillic letters, sorted; a place in this list is permanent.
FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
)
SCRIPTS = ("LATIN", "GREEK", "CYRILLIC")
#: Em squares in the side of an image: the tallest and the widest letters take 1.42 of them.
_EMS = 1.5
#: Height of the baseline, as a fraction of the side from above.
_BASELINE = 0.715
#: Letters are drawn this much larger and averaged down.
_OVERSAMPLING = 4
_SMALLEST = 8


def faces() -> list[str]:
    """Names of the faces, sorted and permanent: those of matplotlib's font files."""
    return list(FACES)


def render(
    char: str,
    face: str,
    size: int = 32,
    *,
    rotation: float = 0.0,
    scale: float = 1.0,
    shear: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    stroke: float = 0.0,
) -> UInt8[np.ndarray, "size size"]:
    """Draw one letter: ink 255 on 0, antialiased; what leaves the image is cut off.

    A point p of the upright letter, in pixels from the middle of the image (x to the right, y up),
    goes to R(rotation) · [[1, shear], [0, 1]] · scale · p + shift.

    Args:
        char: One character that the face has.
        face: One of `faces`.
        size: Side of the image in pixels, at least 8; an em is size/1.5.
        rotation: Counterclockwise, in degrees.
        scale: Factor, above 0.
        shear: Shift to the right per height: 0.2 is the slant of an oblique face.
        shift: To the right and upwards, in pixels.
        stroke: Thickening of every outline, in pixels to either side, at least 0.

    Raises:
        ConfigError: An unknown face, a letter it lacks, or a size, scale or stroke out of range.
    """
    _check(char, face, size, scale, stroke)
    upright = _upright(char, face, size, round(stroke * _OVERSAMPLING))
    if (rotation, scale, shear, *shift) != (0.0, 1.0, 0.0, 0.0, 0.0):
        data = _inverse(size, rotation, scale, shear, shift)
        upright = upright.transform(
            upright.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
        )
    return np.asarray(upright.reduce(_OVERSAMPLING), dtype=np.uint8)


@functools.cache
def charmap(face: str) -> frozenset[str]:
    """Characters that a face really has: those of its font file's own character map.

    Raises:
        ConfigError: An unknown face.
    """
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(str(font_file(face))).get_charmap()))


@functools.cache
def available(names: tuple[str, ...] = FACES) -> tuple[str, ...]:
    """Letters of the three scripts that all named faces have, by code point.

    A letter has Unicode category L* and a name that begins with LATIN, GREEK or CYRILLIC.
    """
    shared = frozenset.intersection(*(charmap(face) for face in names))
    return tuple(char for char in sorted(shared) if _is_letter(char))


def font_file(face: str) -> Path:
    """Path of a face's font file.

    Raises:
        ConfigError: An unknown face, or matplotlib came without it.
    """
    if face not in FACES:
        raise ConfigError(f"no face is called {face!r}; allowed are {', '.join(FACES)}")
    from matplotlib import get_data_path

    path = Path(get_data_path(), "fonts", "ttf", f"{face}.ttf")
    if not path.exists():
        raise ConfigError(
            f"matplotlib's data folder has no {path.name} (looked for {path}); install the "
            "matplotlib of requirements.lock, whose wheel ships it"
        )
    return path


def _is_letter(char: str) -> bool:
    return (
        unicodedata.category(char).startswith("L")
        and unicodedata.name(char, "").split(" ")[0] in SCRIPTS
    )


@functools.cache
def _font(face: str, pixels: int) -> ImageFont.FreeTypeFont:
    """Font of a face whose em has so many pixels."""
    # The basic layout is the same wherever Pillow runs; Raqm is not in every build.
    layout = ImageFont.Layout.BASIC
    return ImageFont.truetype(str(font_file(face)), pixels, layout_engine=layout)


@functools.lru_cache(maxsize=4096)
def _upright(char: str, face: str, size: int, stroke: int) -> Image.Image:
    """The letter before it is moved, `_OVERSAMPLING` times as large."""
    side = size * _OVERSAMPLING
    font = _font(face, round(side / _EMS))
    left, _, right, _ = font.getbbox(char, anchor="ls")
    image = Image.new("L", (side, side))
    place = (side / 2 - (left + right) / 2, round(_BASELINE * side))
    ImageDraw.Draw(image).text(place, char, 255, font, "ls", stroke_width=stroke)
    return image


def _inverse(
    size: int, rotation: float, scale: float, shear: float, shift: tuple[float, float]
) -> tuple[float, ...]:
    """Coefficients (a, b, c, d, e, f) that send a pixel of the image to its place in the letter.

    In pixels of the large image with y downwards: forward = F · scale · R · shear · F with
    F = diag(1, −1), about the middle.
    """
    middle = size * _OVERSAMPLING / 2
    angle = math.radians(rotation)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    flip = np.diag([1.0, -1.0])
    forward = flip @ (scale * turn @ np.array([[1.0, shear], [0.0, 1.0]])) @ flip
    moved = _OVERSAMPLING * np.array([shift[0], -shift[1]])
    back = np.linalg.inv(forward)
    offset = np.full(2, middle) - back @ (middle + moved)
    return (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])


def _check(char: str, face: str, size: int, scale: float, stroke: float) -> None:
    if char not in charmap(face):
        raise ConfigError(
            f"the face {face} has no {char!r}; allowed is one character that it has: choose from "
            "the letters that all faces share (stagewise.data.glyph_render.available)"
        )
    if size < _SMALLEST:
        raise ConfigError(f"the glyph size is {size} pixels; allowed are {_SMALLEST} and more")
    if not (math.isfinite(scale) and scale > 0):
        raise ConfigError(f"the glyph scale is {scale}; allowed are finite values above 0")
    if not (math.isfinite(stroke) and stroke >= 0):
        raise ConfigError(f"the glyph stroke is {stroke} pixels; allowed are values of at least 0")
