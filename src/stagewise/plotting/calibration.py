"""How settings were chosen, and how runs with them agree with exact influences."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import legend_above, line_handle
from stagewise.plotting.palette import Look

#: One look for each problem, in the order of the config.
LOOKS = (
    (palette.BLUE, "-", "o"),
    (palette.VERMILLION, "--", "s"),
    (palette.GREEN, "-.", "^"),
    (palette.PURPLE, ":", "D"),
)


def looks_of(problems: Sequence[str]) -> dict[str, Look]:
    """Returns how each problem is drawn; a fifth looks like the first."""
    return {name: Look(*look, name) for name, look in zip(problems, cycle(LOOKS), strict=False)}


def draw_calibration(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: the two searches above, the agreement of all runs below."""
    search, rows = tables["calibration_search"], tables["calibration_rows"]
    looks = looks_of(list(dict.fromkeys(rows["problem"])))
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.0, 1.15))
    locality, signal, step = upper.subplots(1, 3)
    draw_locality(locality, search, looks)
    draw_signal(signal, search, looks)
    draw_step(step, search, looks)
    draw_rows(lower.subplots(1, 1), rows, looks)
    legend_above(figure, [line_handle(look, marker=True) for look in looks.values()])


def _phase(search: pd.DataFrame, phase: str, problem: str) -> pd.DataFrame:
    return search[(search["phase"] == phase) & (search["problem"] == problem)]


def draw_locality(ax: Axes, search: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws how influences agree with those of a neighbourhood a tenth as wide, against nβ."""
    for problem, look in looks.items():
        found = _phase(search, "locality", problem).dropna(subset=["agreement"])
        ax.plot(found["n_beta"], found["agreement"], **_style(look))
        _ring(ax, found[found["chosen"]], "n_beta", "agreement")
    ax.set_xscale("log")
    ax.set_ylim(-0.05, 1.05)
    ax.set_xlabel("inverse temperature nβ")
    ax.set_ylabel("agreement with 10 nβ")
    ax.set_title("a  how narrow")


def draw_signal(ax: Axes, search: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws the signal over the null against nβ: largest where the answer is wrong."""
    for problem, look in looks.items():
        found = _phase(search, "locality", problem)
        ax.plot(found["n_beta"], found["snr"], **_style(look))
        _ring(ax, found[found["chosen"]], "n_beta", "snr")
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.set_xlabel("inverse temperature nβ")
    ax.set_ylabel("influence over its null")
    ax.set_title("b  signal is no criterion")


def draw_step(ax: Axes, search: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws the measured bias against halvings of the step, open markers for minibatches."""
    most = 0.0
    for problem, look in looks.items():
        found = _phase(search, "step", problem)
        for size, rows in found.groupby(found["batch_size"].fillna(0)):
            halved = np.log2(rows["step_size"].max() / rows["step_size"])
            rows = rows.assign(halvings=halved, percent=100 * rows["bias"])
            rows = rows.dropna(subset=["bias"])
            ax.errorbar(
                rows["halvings"],
                rows["percent"],
                yerr=100 * rows["bias_se"],
                elinewidth=0.6,
                markerfacecolor=look.colour if size == 0 else "white",
                **_style(look),
            )
            _ring(ax, rows[rows["chosen"]], "halvings", "percent")
            most = max(most, rows["halvings"].max())
    ax.set_xlim(-0.4, most + 0.4)
    ax.set_xticks(range(int(most) + 1))
    ax.set_xlabel("halvings of the step")
    ax.set_ylabel("bias of the covariance, %")
    ax.set_title("c  how large a step")


def draw_rows(ax: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    """Draws every run's agreement with the exact answer, and with its own limit of many draws."""
    shown = rows[rows["row"].str.fullmatch("calibrated.*|(.*_)?by_hand")]
    names = list(dict.fromkeys(zip(shown["problem"], shown["row"], strict=True)))
    for place, (problem, row) in enumerate(names):
        found = rows[(rows["problem"] == problem) & (rows["row"] == row)].iloc[0]
        look = looks[problem]
        ax.plot([0, found["agreement"]], [place, place], color=palette.FAINT, linewidth=3, zorder=0)
        ax.errorbar(
            found["agreement"],
            place,
            xerr=found["agreement_se"],
            color=look.colour,
            marker=look.marker,
            linestyle="",
            markersize=4,
        )
        ax.plot(found["reliability"], place, color=palette.BLACK, marker="|", linestyle="")
        ax.annotate(
            f"{found['wall_seconds']:.0f} s",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=6,
        )
    ax.set_yticks(range(len(names)), [f"{problem}: {_spoken(row)}" for problem, row in names])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.0)
    ax.set_xlabel(
        "agreement with the exact influence (marker), with the run's own limit of many draws (|)"
    )
    ax.set_title("d  what runs reach, and the seconds they took")


def draw_calibration_grid(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: every grid's cells in order of agreement, and the calibrated run."""
    table = tables["calibration_grid"]
    grid_of = table["row"].str.replace(r"_(\d+|calibrated)$", "", regex=True)
    grids = list(dict.fromkeys(grid_of))
    for ax, grid in zip(np.atleast_1d(figure.subplots(1, len(grids))), grids, strict=True):
        own = table[grid_of == grid]
        calibrated = own[own["row"] == f"{grid}_calibrated"].iloc[0]
        cells = own[own["row"] != f"{grid}_calibrated"]["agreement"].sort_values().to_numpy()
        ax.plot(np.arange(len(cells)) + 1, cells, color=palette.GREY, marker="o", linestyle="")
        ax.axhline(calibrated["agreement"], color=palette.VERMILLION)
        ax.axhline(np.median(cells), color=palette.GREY, linestyle=":")
        ax.set_ylim(min(0.0, cells.min()), 1.0)
        ax.set_title(_spoken(grid))
        ax.set_xlabel("cells, worst to best")
        ax.set_ylabel("agreement with the exact influence")
    looks = (
        Look(palette.GREY, "", "o", "cell set by hand"),
        Look(palette.GREY, ":", "", "their median"),
        Look(palette.VERMILLION, "-", "", "calibrated"),
    )
    legend_above(figure, [line_handle(look, marker=bool(look.marker)) for look in looks])


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _style(look: Look) -> dict[str, object]:
    return {
        "color": look.colour,
        "linestyle": look.line,
        "marker": look.marker,
        "markersize": 3,
        "linewidth": 0.8,
    }


def _ring(ax: Axes, chosen: pd.DataFrame, x: str, y: str) -> None:
    ax.plot(
        chosen[x],
        chosen[y],
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=palette.BLACK,
        markeredgewidth=0.8,
        linestyle="",
    )
