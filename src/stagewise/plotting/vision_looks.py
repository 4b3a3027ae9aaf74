"""What the figures of image networks share: looks of methods and scripts, thumbnails."""

import base64
import zlib
from collections.abc import Mapping
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from stagewise.plotting import palette
from stagewise.plotting.palette import Look

METHODS: Mapping[str, Look] = MappingProxyType(
    {
        "kernel": Look(palette.BLACK, "-", "o", "loss kernel"),
        "wide": Look(palette.VERMILLION, "-", "P", "loss kernel of heated chains"),
        "prior": Look(palette.ORANGE, ":", "D", "without data (nβ = 0)"),
        "gradient": Look(palette.GREEN, "--", "^", "gradients"),
        "penultimate": Look(palette.BLUE, "-", "s", "penultimate features"),
        "random_init": Look(palette.PURPLE, "-.", "v", "untrained network"),
        "pixel": Look(palette.GREY, "--", "x", "pixels"),
    }
)

DETECTORS: Mapping[str, str] = MappingProxyType(
    {
        "loss": "loss",
        "el2n": "EL2N",
        "self_gradient": "self-influence (gradient)",
        "kernel_variance": "kernel: self-variance",
        "kernel_neighbours": "kernel: neighbours' labels",
        "penultimate_neighbours": "features: neighbours' labels",
        "random_neighbours": "random similarity: neighbours' labels",
        "cross_influence": "kernel: harm to held-out images",
        "ekfac": "EK-FAC: harm to held-out images",
    }
)

_COLOURS = (palette.BLUE, palette.VERMILLION, palette.GREEN, palette.PURPLE, palette.ORANGE)


def main_run(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the main run, which comes first."""
    return table[table["run"] == table["run"].iloc[0]]


def group_colours(images: pd.DataFrame) -> dict[str, str]:
    """Returns a colour for each of the images' groups (scripts), in the order of their names."""
    groups = sorted(set(images["group"].astype(str)))
    return {group: _COLOURS[index % len(_COLOURS)] for index, group in enumerate(groups)}


def unpacked(pixels: str) -> Float[np.ndarray, "row column"]:
    """Returns an image, 0 paper to 1 ink, from a table's cell (see evaluation.thumbnails)."""
    size, _, code = pixels.partition(":")
    raw = np.frombuffer(zlib.decompress(base64.b64decode(code)), np.uint8)
    return raw.reshape(int(size), -1) / 255.0


def tinted(ink: Float[np.ndarray, "row column"], colour: str) -> np.ndarray:
    """Returns the image as RGBA: ink of one colour on nothing."""
    rgba = np.empty((*ink.shape, 4))
    rgba[..., :3] = to_rgb(colour)
    rgba[..., 3] = ink
    return rgba


def draw_glyph(ax: Axes, x: float, y: float, pixels: str, colour: str, zoom: float) -> None:
    """Puts an image at a point, in its own size whatever the axes' scale."""
    box = OffsetImage(tinted(unpacked(pixels), colour), zoom=zoom, resample=True)
    ax.add_artist(AnnotationBbox(box, (x, y), frameon=False, pad=0.0))


def bare(ax: Axes) -> None:
    """Takes ticks and spines away."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def signed_colours() -> mpl.colors.Colormap:
    """Returns the map for correlations."""
    return mpl.colormaps[palette.DIVERGING]
