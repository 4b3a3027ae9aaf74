"""Scores of attributors against retraining: by α, by setting, and by what they cost."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stagewise.plotting import palette
from stagewise.plotting.marks import legend_above, select
from stagewise.plotting.palette import Look
from stagewise.plotting.retraining_looks import (
    draw_interval,
    looks_of,
    method_handles,
    problems_of,
    title_of,
)

_WIDTH = 0.8
#: Seconds below which a method counts as free: a logarithm has no place for nothing.
_FREE = 1e-3


def draw_retraining_lds(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: scores with the noise ceiling above, differences from BIF below."""
    scores, gaps, ceilings = (
        tables[f"retraining_{name}"] for name in ("lds", "difference", "ceiling")
    )
    gaps = select(gaps, first="bif").rename(columns={"second": "method"})
    looks, problems = looks_of(scores["method"]), problems_of(scores)
    counts = [select(scores, problem=one)["alpha"].nunique() for one in problems]
    axes = figure.subplots(
        2, len(problems), squeeze=False, sharey="row", width_ratios=[0.35 + one for one in counts]
    )
    for column, problem in enumerate(problems):
        upper, lower = axes[:, column]
        own = select(scores, problem=problem)
        _draw_alphas(upper, own, looks)
        _draw_ceilings(upper, select(ceilings, problem=problem, quantity="ceiling"), own)
        _draw_alphas(lower, select(gaps, problem=problem), looks)
        upper.set_title(title_of(problem))
        lower.set_xlabel("α, share of the training set")
    axes[0, 0].set_ylabel("linear datamodelling score")
    axes[1, 0].set_ylabel("Bayesian influence's score\nless the method's")
    line = Line2D([], [], color=palette.GREY, linewidth=4, alpha=0.5, label="noise ceiling")
    legend_above(figure, [*method_handles(looks), line], columns=4)


def _draw_alphas(ax: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    alphas = sorted(set(rows["alpha"]))
    step = _WIDTH / max(len(looks), 2)
    for index, (method, look) in enumerate(looks.items()):
        for _, row in select(rows, method=method).iterrows():
            x = alphas.index(row["alpha"]) + step * (index - (len(looks) - 1) / 2)
            draw_interval(ax, x, row, look)
    ax.axhline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
    ax.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    ax.set_xlim(-0.55, len(alphas) - 0.45)


def _draw_ceilings(ax: Axes, ceilings: pd.DataFrame, scores: pd.DataFrame) -> None:
    alphas = sorted(set(scores["alpha"]))
    for row in ceilings.itertuples(index=False):
        place = alphas.index(row.alpha)
        ends = [place - 0.46, place + 0.46]
        ax.fill_between(ends, row.low, row.high, color=palette.FAINT, zorder=0, linewidth=0)
        ax.plot(ends, [row.value] * 2, color=palette.GREY, linewidth=0.8, zorder=0)


def draw_retraining_cost(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: score against seconds, one panel a problem; small dots: other settings."""
    cost, settings = tables["retraining_cost"], tables["retraining_settings"]
    looks, problems = looks_of(cost["method"]), problems_of(cost)
    for ax, problem in zip(
        figure.subplots(1, len(problems), squeeze=False, sharey=True)[0], problems, strict=True
    ):
        for method, look in looks.items():
            tried = select(settings, problem=problem, method=method)
            ax.plot(
                tried["seconds"].clip(lower=_FREE),
                tried["value"],
                color=look.colour,
                marker=".",
                markersize=2.5,
                markeredgewidth=0,
                alpha=0.4,
                linestyle="none",
            )
            for _, row in select(cost, problem=problem, method=method).iterrows():
                draw_interval(ax, max(row["seconds"], _FREE), row, look)
        ax.axhline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
        ax.set_xscale("log")
        ax.margins(x=0.06)
        ax.set_xlabel("seconds")
        ax.set_title(title_of(problem))
    figure.axes[0].set_ylabel("linear datamodelling score, α = 0.5")
    legend_above(figure, method_handles(looks), columns=5)


def draw_retraining_settings(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: every setting's score on the tuning subsets; rings mark the choice."""
    settings = tables["retraining_settings"]
    looks, problems = looks_of(settings["method"]), problems_of(settings)
    for ax, problem in zip(
        figure.subplots(1, len(problems), squeeze=False, sharey=True)[0], problems, strict=True
    ):
        for place, (method, look) in enumerate(looks.items()):
            tried = select(settings, problem=problem, method=method).sort_values("setting")
            if tried.empty:  # not every problem has every attributor
                continue
            height = place + np.linspace(-0.25, 0.25, len(tried)) if len(tried) > 1 else [place]
            style = {"color": look.colour, "linestyle": "none"}
            ax.plot(tried["value"], height, marker=look.marker, markersize=2.6, **style)
            best = tried["chosen"].to_numpy(bool)
            ax.plot(
                tried["value"][best],
                np.asarray(height)[best],
                marker="o",
                markersize=7,
                markerfacecolor="none",
                markeredgewidth=0.7,
                **style,
            )
        ax.axvline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
        ax.set_yticks(range(len(looks)), [look.label for look in looks.values()])
        ax.set_ylim(len(looks) - 0.5, -0.5)
        ax.margins(x=0.06)
        ax.set_xlabel("score, tuning retrainings")
        ax.set_title(title_of(problem))
