"""Influence between classes of tokens: over training, as maps, and summed over training."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from stagewise.plotting import palette
from stagewise.plotting.language_looks import (
    CLASS_LOOKS,
    METHODS,
    REFERENCES,
    STAGE,
    draw_band,
    draw_stage,
    runs_of,
    title_of,
)
from stagewise.plotting.marks import (
    STEP_LABEL,
    band_handle,
    draw_zero,
    legend_above,
    line_handle,
    present,
    select,
)

#: Pairs of classes in the order in which they are shown, as far as a run has them.
PAIRS = (
    ("induction", "induction"),
    ("left delimiter", "right delimiter"),
    ("first pair", "induction"),
    ("left delimiter", "left delimiter"),
    ("word part", "word part"),
    ("word start", "word part"),
    ("formatting", "word start"),
)
PANELS = 6
#: Pairs in the figure of sums.
MOST_SUMS = 20
MOMENTS = ("before", "at", "after")


def pair_rows(curves: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Returns the rows of an unordered pair of classes."""
    straight = (curves["first"] == one) & (curves["second"] == other)
    turned = (curves["first"] == other) & (curves["second"] == one)
    return curves[straight | turned]


def draw_pair(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws one pair of classes: influence of every seed, and its references of the first.

    Args:
        ax: Axes to draw on.
        rows: Columns kind, seed, step, value (BIF sense; drawn with the sign turned), se.
    """
    draw_zero(ax)
    first = rows["seed"].iloc[0]
    draw_band(ax, select(rows, kind="null", seed=first), REFERENCES["null"], -1.0)
    prior = select(rows, kind="prior", seed=first).sort_values("step")
    look = REFERENCES["prior"]
    ax.plot(prior["step"], -prior["value"], color=look.colour, linestyle=look.line)
    for _, own in select(rows, kind="influence").groupby("seed"):
        draw_band(ax, own, REFERENCES["influence"], -1.0)


def shown_pairs(curves: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Returns (run, class, class) of the panels: the main run's, then induction in other runs."""
    runs = runs_of(curves)
    own = [
        (run, *PAIRS[0]) for run in runs[1:] if len(pair_rows(select(curves, run=run), *PAIRS[0]))
    ]
    main = select(curves, run=runs[0])
    found = [(runs[0], *pair) for pair in PAIRS if len(pair_rows(main, *pair))]
    return [*found[: PANELS - len(own[:1])], *own[:1]] or [
        (runs[0], main["first"].iloc[0], main["second"].iloc[0])
    ]


def draw_language_influence(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a panel for each of a few pairs of classes, stages shaded."""
    curves, claims = tables["language_curves"], tables["language_claims"]
    shown = shown_pairs(curves)
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax, (run, one, other) in zip(axes.flat, shown, strict=False):
        draw_stage(ax, claims, run)
        draw_pair(ax, pair_rows(select(curves, run=run), one, other))
        named = "" if run == shown[0][0] else f" ({run.replace('_', ' ')})"
        ax.set_title(f"{one} · {other}{named}")
    for ax in axes.flat[max(len(shown) - columns, 0) : len(shown)]:
        ax.set_xlabel(STEP_LABEL)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("−BIF, helps ↑   [nats²]")
    handles = [line_handle(look) for look in REFERENCES.values()]
    legend_above(figure, [*handles, band_handle(STAGE)])


def draw_heat(ax: Axes, rows: pd.DataFrame, classes: list[str], largest: float) -> AxesImage:
    """Draws −BIF of every class on every other; a dot where it is beyond two errors."""
    wide = rows.pivot(index="first", columns="second", values=["value", "z"])
    value, z = (wide[name].reindex(index=classes, columns=classes) for name in ("value", "z"))
    image = ax.imshow(-value, cmap=palette.DIVERGING, vmin=-largest, vmax=largest)
    for row, column in np.argwhere(np.abs(z.to_numpy()) > 2):
        ax.plot(column, row, ".", color=palette.BLACK, markersize=1.5)
    ax.set_xticks(range(len(classes)), classes, rotation=90, fontsize=5.5)
    ax.set_yticks(range(len(classes)), classes, fontsize=5.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return image


def draw_language_heat(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a row for each run, a column before, at and after its transition."""
    table = tables["language_heat"]
    runs = runs_of(table)
    axes = figure.subplots(len(runs), len(MOMENTS), squeeze=False)
    for row, run in enumerate(runs):
        own = select(table, run=run)
        own = select(own, seed=own["seed"].iloc[0])
        classes = present(CLASS_LOOKS, own["first"])
        for column, moment in enumerate(MOMENTS):
            rows, ax = select(own, moment=moment), axes[row, column]
            largest = float(rows["value"].abs().max()) or 1.0
            image = draw_heat(ax, rows, classes, largest)
            ax.set_title(f"{moment}: step {rows['step'].iloc[0]}")
            bar = figure.colorbar(image, ax=ax, shrink=0.7, pad=0.02)
            bar.outline.set_visible(False)
            if column:
                ax.set_yticks([])
            if column == len(MOMENTS) - 1:
                bar.set_label("−BIF, helps ↑   [nats²]")
        axes[row, 0].set_ylabel(title_of(run))


def draw_language_cancel(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: for each run the pairs of classes whose sum over training loses most."""
    table = tables["language_cancel"]
    runs = runs_of(table)
    for ax, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        draw_cancel(ax, select(table, run=run))
        ax.set_title(title_of(run))
        ax.set_xlabel("share that cancels over training steps")
    handles = [line_handle(look, marker=True) for look in METHODS.values()]
    noise = REFERENCES["null"]._replace(line="", marker="|", label="influence, by noise alone")
    legend_above(figure, [*handles, line_handle(noise, marker=True)])


def draw_cancel(ax: Axes, table: pd.DataFrame) -> None:
    """Draws the share that cancels, mean over seeds ± one standard error, most above.

    Args:
        ax: Axes to draw on.
        table: Columns method, first, second, seed, cancelled, se, noise, sign_change; a star marks
            pairs whose influence changes its sign in some seed, beyond chance.
    """
    keyed = table.assign(pair=table["first"] + " · " + table["second"])
    own = select(keyed, method="bif").groupby("pair")
    order = own["cancelled"].mean().sort_values(ascending=False).index[:MOST_SUMS].tolist()
    changed, noise = own["sign_change"].any(), own["noise"].mean()
    for shift, (method, look) in zip((-0.15, 0.15), METHODS.items(), strict=True):
        rows = select(keyed, method=method).groupby("pair")["cancelled"]
        mean, several = rows.mean().reindex(order), rows.count().reindex(order)
        within = select(keyed, method=method).groupby("pair")["se"].mean().reindex(order)
        error = (rows.std() / np.sqrt(rows.count())).reindex(order).where(several > 1, within)
        place = np.arange(len(order)) + shift
        ax.errorbar(
            mean, place, xerr=error, color=look.colour, marker=look.marker, linestyle="", lw=0.6
        )
    colour = REFERENCES["null"].colour
    ax.plot(noise.reindex(order), np.arange(len(order)), "|", color=colour)
    labels = [f"{pair} *" if changed[pair] else pair for pair in order]
    ax.set_yticks(range(len(order)), labels, fontsize=5.5)
    ax.invert_yaxis()
    ax.set_xlim(-0.02, 1.02)
