"""What the figures of language models share: looks of token classes, stages, runs."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from stagewise.plotting import palette
from stagewise.plotting.marks import select
from stagewise.plotting.palette import Look

CLASS_LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "induction": Look(palette.VERMILLION, "-", "o", "induction"),
        "first pair": Look(palette.ORANGE, "--", "s", "first pair"),
        "left delimiter": Look(palette.BLUE, "-", "<", "left delimiter"),
        "right delimiter": Look(palette.SKY, "--", ">", "right delimiter"),
        "formatting": Look(palette.GREY, ":", "d", "formatting"),
        "word start": Look(palette.GREEN, "-", "^", "word start"),
        "word part": Look(palette.GREEN, "--", "v", "word part"),
        "word end": Look(palette.GREEN, ":", "P", "word end"),
        "digit": Look(palette.PURPLE, "-", "*", "digit"),
        "other": Look(palette.PURPLE, "--", "x", "other"),
    }
)

REFERENCES: Mapping[str, Look] = MappingProxyType(
    {
        "influence": Look(palette.BLACK, "-", "o", "influence, ± 2 se, each seed"),
        "prior": Look(palette.ORANGE, ":", "", "prior (nβ = 0)"),
        "null": Look(palette.SKY, "--", "", "null, ± 2 se"),
    }
)

METHODS: Mapping[str, Look] = MappingProxyType(
    {
        "bif": Look(palette.BLACK, "", "o", "influence"),
        "gradient": Look(palette.GREEN, "", "s", "gradient products (TracIn)"),
    }
)

#: What the bands of the stages are called in legends.
STAGE = "induction is learned (95% interval, each seed)"


def runs_of(table: pd.DataFrame) -> list[str]:
    """Returns the runs in ``table``, the main one first."""
    return list(dict.fromkeys(table["run"]))


def title_of(run: str) -> str:
    """Returns a run's name for people."""
    return f"run “{run.replace('_', ' ')}”"


def draw_stage(ax: Axes, claims: pd.DataFrame, run: str) -> None:
    """Shades the interval of each seed's transition and marks its middle."""
    rows = select(claims, run=run, quantity="transition").dropna(subset=["value"])
    for low, high, step in rows[["low", "high", "value"]].itertuples(index=False):
        if np.isfinite([low, high]).all():
            ax.axvspan(low, high, color=palette.GREY, alpha=0.2, lw=0.4, zorder=0)
        ax.axvline(step, color=palette.GREY, linewidth=0.5, zorder=0)


def draw_band(ax: Axes, rows: pd.DataFrame, look: Look, sign: float = 1.0) -> None:
    """Draws one seed's curve of sign · value, with a band of two standard errors."""
    rows = rows.sort_values("step")
    value, se = sign * rows["value"], rows["se"]
    ax.plot(rows["step"], value, color=look.colour, linestyle=look.line, linewidth=0.9)
    ax.fill_between(
        rows["step"], value - 2 * se, value + 2 * se, color=look.colour, alpha=0.15, linewidth=0
    )
