"""Which sampler has the law that it should: verdicts and relative errors."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from stagewise.plotting import palette

#: Colour and meaning of a verdict; the third is of cells that no law is known for.
VERDICTS = {
    "law": (palette.GREEN, "agrees with the law of the chain itself"),
    "target": (palette.SKY, "nothing against the target, given the allowance"),
    "fail": (palette.VERMILLION, "does not agree"),
    "none": (palette.FAINT, "no verdict: not applicable, law not known, too noisy"),
}


def draw_conformance(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: errors against the law that a chain was held against, and the target."""
    found = tables["conformance"]
    found = found[found["headline"].astype(bool)]
    upper, lower = figure.subplots(2, 1, sharex=True)
    draw_errors(upper, found, "relative_error")
    draw_errors(lower, found, "continuum_error")
    upper.set_title("relative error in percent, against the law that the verdict is about")
    lower.set_title("relative error in percent, against the target: step size ε included")
    lower.set_xticks(
        range(found["problem"].nunique()),
        [name.replace("_", " ") for name in dict.fromkeys(found["problem"])],
        rotation=35,
        ha="right",
        rotation_mode="anchor",
    )
    handles = [Patch(color=colour, alpha=0.45, label=text) for colour, text in VERDICTS.values()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)


def draw_errors(ax: Axes, found: pd.DataFrame, error: str) -> None:
    """Draws a row for each sampler and a column for each problem, coloured by the verdict.

    Args:
        ax: Axes to draw on.
        found: One row for each sampler and problem, the headlines of the table.
        error: Column whose value ± standard error is written, in percent.
    """
    samplers = list(dict.fromkeys(found["sampler"]))
    problems = list(dict.fromkeys(found["problem"]))
    ax.set_xlim(-0.5, len(problems) - 0.5)
    ax.set_ylim(len(samplers) - 0.5, -0.5)
    versions = found.drop_duplicates("sampler")["version"]
    named = [labelled(name, version) for name, version in zip(samplers, versions, strict=True)]
    ax.set_yticks(range(len(samplers)), named)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    for _, row in found.iterrows():
        x, y = problems.index(row["problem"]), samplers.index(row["sampler"])
        colour = VERDICTS[verdict(row)][0]
        ax.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=colour, alpha=0.45, lw=0))
        ax.text(x, y, written(row[error], row[f"{error}_se"]), ha="center", va="center", fontsize=5)


def labelled(sampler: str, version: str) -> str:
    """Returns library, version and method."""
    library, _, method = sampler.partition("_")
    return f"{library} {version} {method.replace('_', ' ')}"


def verdict(row: pd.Series) -> str:
    """Returns the key of ``VERDICTS`` for one row."""
    passed = row["problem_passed"]
    if pd.isna(passed):
        return "none"
    if str(passed) != "True":  # read from a file with empty cells, it is text
        return "fail"
    return "target" if row["law"] == "continuum" else "law"


def written(value: float, se: float) -> str:
    """Returns value ± standard error in percent, or a dash."""
    if not np.isfinite(value):
        return "–"
    return f"{100 * value:+.1f}\n± {100 * se:.1f}".replace("-", "−")
