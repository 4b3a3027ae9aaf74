"""Colours, line styles and names, keyed by concept: a concept looks the same in every figure.

The colours are those of Okabe and Ito, told apart under the common colour-vision deficiencies.
Where two kinds of curve meet in one panel a line style or a marker tells them apart as well.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#888888"
FAINT = "#D9D9D9"


class Look(NamedTuple):
    """How a concept is drawn and what it is called in a legend."""

    colour: str
    line: str
    marker: str
    label: str


RELATIONS: Mapping[str, Look] = MappingProxyType(
    {
        "sibling": Look(VERMILLION, "-", "o", "siblings"),
        "cousin": Look(BLUE, "-", "s", "cousins"),
        "distant": Look(GREEN, "-", "^", "distant"),
    }
)

INFLUENCES: Mapping[str, Look] = MappingProxyType(
    {
        "bif": Look(BLACK, "-", "o", "(a) local posterior"),
        "trajectory": Look(PURPLE, "-", "s", "(b) training trajectory"),
        "leave_one_out": Look(ORANGE, "-", "^", "(c) leave-one-out"),
        "trajectory_published": Look(PURPLE, "--", "s", "(b) published closed form"),
        "bif_law": Look(SKY, "-", "", "second-order law"),
        "bif_strong": Look(GREEN, "--", "", "strong-localization limit"),
        "bif_prior": Look(ORANGE, ":", "", "prior (nβ = 0)"),
    }
)

INITS: Mapping[str, str] = MappingProxyType(
    {
        "aligned": "aligned balanced",
        "balanced": "random balanced",
        "gaussian": "Gaussian",
    }
)

MIXTURE: Mapping[str, Look] = MappingProxyType(
    {
        "exact": Look(BLACK, "-", "", "exact total"),
        "discrete": Look(GREY, ":", "", "exact, steps of the sampler included"),
        "within": Look(SKY, "--", "", "within phases"),
        "between": Look(ORANGE, "-.", "", "between phases"),
        "sampled": Look(VERMILLION, "", "o", "sampled"),
    }
)

TARGETS: Mapping[str, str] = MappingProxyType(
    {
        "law": "its own second-order law",
        "trajectory": "(b) training trajectory",
        "leave_one_out": "(c) leave-one-out",
    }
)

#: Ordered quantities (modes, items along a tree, localization) take their colours from here,
#: signed ones from the map below.
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
