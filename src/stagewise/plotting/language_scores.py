"""Stages of language training as the model's own measurements show them."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.language_looks import (
    CLASS_LOOKS,
    STAGE,
    draw_band,
    draw_stage,
    runs_of,
    title_of,
)
from stagewise.plotting.marks import (
    STEP_LABEL,
    band_handle,
    legend_above,
    line_handle,
    present,
    select,
)
from stagewise.plotting.palette import Look

DIVERGENCES = {
    "unigram_divergence": Look(palette.GREY, "--", "", "to unigram"),
    "bigram_divergence": Look(palette.BLACK, "-", "", "to bigram"),
}
PATTERNS = {
    "previous_token": Look(palette.BLUE, "-", "", "previous token"),
    "induction_attention": Look(palette.VERMILLION, "-", "", "induction"),
}
_ROWS = (
    "loss by class [nats]",
    "accuracy on\ninduction tokens",
    "divergence [nats]",
    "attention, best head",
)


def draw_losses(ax: Axes, scores: pd.DataFrame) -> None:
    """Draws the held-out loss of each class, mean over seeds."""
    losses = select(scores, quantity="loss")
    for name in present(CLASS_LOOKS, losses["group"]):
        mean = select(losses, group=name).groupby("step")["value"].mean()
        look = CLASS_LOOKS[name]
        ax.plot(mean.index, mean, color=look.colour, linestyle=look.line, linewidth=0.8)


def draw_accuracy(ax: Axes, scores: pd.DataFrame) -> None:
    """Draws the accuracy on induction tokens of every seed, ± 2 standard errors."""
    own = select(scores, quantity="accuracy", group="induction")
    for _, rows in own.groupby("seed"):
        draw_band(ax, rows, CLASS_LOOKS["induction"])
    ax.set_ylim(0, 1)


def draw_divergences(ax: Axes, scores: pd.DataFrame) -> None:
    """Draws the distance of predictions from unigram and bigram statistics, for every seed."""
    for name, look in DIVERGENCES.items():
        for _, rows in select(scores, quantity=name).groupby("seed"):
            draw_band(ax, rows, look)


def draw_patterns(ax: Axes, scores: pd.DataFrame) -> None:
    """Draws the largest attention that any head pays in each pattern, for every seed."""
    for name, look in PATTERNS.items():
        for _, rows in select(scores, quantity=name).groupby("seed"):
            best = rows.groupby("step")["value"].max()
            ax.plot(best.index, best, color=look.colour, linestyle=look.line, linewidth=0.8)


def draw_language_scores(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column for each run; losses, accuracy, divergences, attention below."""
    scores, claims = tables["language_scores"], tables["language_claims"]
    runs = runs_of(scores)
    draws = (draw_losses, draw_accuracy, draw_divergences, draw_patterns)
    axes = figure.subplots(len(draws), len(runs), sharex="col", sharey="row", squeeze=False)
    for column, run in enumerate(runs):
        for row, draw in enumerate(draws):
            draw_stage(axes[row, column], claims, run)
            draw(axes[row, column], select(scores, run=run))
        axes[0, column].set_title(title_of(run))
        axes[-1, column].set_xlabel(STEP_LABEL)
    for row, label in enumerate(_ROWS):
        axes[row, 0].set_ylabel(label)
    for row, looks in ((2, DIVERGENCES), (3, PATTERNS)):
        # Runs share the scale. A limit set before all are drawn would cut off the later ones.
        axes[row, 0].set_ylim(bottom=0)
        axes[row, -1].legend(
            handles=[line_handle(look) for look in looks.values()],
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),  # beside the panel: curves of some run fill any corner
            borderaxespad=0,
        )
    figure.align_ylabels(axes[:, 0])
    shown = present(CLASS_LOOKS, select(scores, quantity="loss")["group"])
    handles = [line_handle(CLASS_LOOKS[name]) for name in shown]
    legend_above(figure, [*handles, band_handle(STAGE)], columns=5)


def draw_language_llc(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column for each run; the coefficient of all tokens, and of each class."""
    table, claims = tables["language_llc"], tables["language_claims"]
    runs = runs_of(table)
    axes = figure.subplots(2, len(runs), sharex="col", squeeze=False)
    whole = Look(palette.BLACK, "-", "", "all tokens, ± 2 se, each seed")
    for column, run in enumerate(runs):
        own = select(table, run=run)
        for ax in axes[:, column]:
            draw_stage(ax, claims, run)
        for _, rows in select(own, group="all").groupby("seed"):
            draw_band(axes[0, column], rows, whole)
        first = select(own, seed=own["seed"].iloc[0])
        for name in present(CLASS_LOOKS, first["group"]):
            draw_band(axes[1, column], select(first, group=name), CLASS_LOOKS[name])
        axes[0, column].set_title(title_of(run))
        axes[1, column].set_xlabel(STEP_LABEL)
    axes[0, 0].set_ylabel("local learning\ncoefficient")
    axes[1, 0].set_ylabel("of a class,\nfirst seed")
    figure.align_ylabels(axes[:, 0])
    handles = [line_handle(CLASS_LOOKS[name]) for name in present(CLASS_LOOKS, table["group"])]
    legend_above(figure, [line_handle(whole), *handles, band_handle(STAGE)], columns=4)
