"""Attributors against leaving one out, removals, each other's signs, and flipped labels."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import legend_above, select
from stagewise.plotting.palette import Look
from stagewise.plotting.retraining_looks import (
    METHODS,
    draw_interval,
    draw_methods_down,
    looks_of,
    method_handles,
    problems_of,
    title_of,
)

#: Who judges a sign.
JUDGES: Mapping[str, str] = MappingProxyType(
    {
        "exact_ggn": "exact influence (Gauss-Newton)",
        "exact_hessian": "exact influence (Hessian)",
        "leave_one_out": "retraining without the sample",
        "subsets": "retraining on subsets",
    }
)
NOISE_ROWS = ("split_half", "ceiling")


def draw_retraining_loo(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: rank correlation with leaving one out, one panel a problem."""
    rows = tables["retraining_loo"]
    methods = rows[~rows["method"].isin(NOISE_ROWS)]
    looks, problems = looks_of(methods["method"]), problems_of(rows)
    axes = figure.subplots(1, len(problems), squeeze=False, sharey=True)[0]
    for ax, problem in zip(axes, problems, strict=True):
        own = select(methods, problem=problem)
        draw_methods_down(ax, own, looks)
        for row in select(rows, problem=problem, method="ceiling").itertuples(index=False):
            ax.axvspan(row.low, row.high, color=palette.FAINT, linewidth=0, zorder=0)
            ax.axvline(row.value, color=palette.GREY, linewidth=0.8, zorder=0)
            ax.annotate(
                "noise ceiling",
                (row.value, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(-2, 3),
                textcoords="offset points",
                rotation=90,
                ha="right",
                fontsize=5.5,
                color=palette.GREY,
            )
        ax.set_xlim(right=1.02)
        ax.set_xlabel("rank correlation with leave-one-out")
        ax.set_title(f"{title_of(problem)}, {int(own['n_samples'].iloc[0])} samples")


def draw_retraining_removal(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: what queries lose without their most helpful samples."""
    rows = tables["retraining_removal"]
    looks, problems = looks_of(rows["method"]), problems_of(rows)
    for ax, problem in zip(
        figure.subplots(1, len(problems), squeeze=False)[0], problems, strict=True
    ):
        own = select(rows, problem=problem)
        for index, (method, look) in enumerate(looks.items()):
            curve = select(own, method=method).sort_values("k")
            if curve.empty:
                continue
            # A little apart, so that intervals can be told from each other.
            shift = 1.02 ** (index - (len(looks) - 1) / 2)
            ax.plot(curve["k"] * shift, curve["value"], color=look.colour, linestyle=look.line)
            for _, row in curve.iterrows():
                draw_interval(ax, row["k"] * shift, row, look)
        sizes = sorted(set(own["k"]))
        ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{size}" for size in sizes])
        ax.minorticks_off()
        ax.margins(x=0.05)
        ax.axhline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
        ax.set_xlabel("samples removed, those called most helpful first")
        ax.set_title(title_of(problem))
    figure.axes[0].set_ylabel("rise of the query's loss, nats\n(the removed samples helped ↑)")
    legend_above(figure, method_handles(looks), columns=min(len(looks), 5))


def draw_retraining_signs(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: how often a judge agrees with a sign, where the two disagree and at all."""
    rows = tables["retraining_signs"]
    problems = problems_of(rows)
    judges = [name for name in JUDGES if name in set(rows["judge"])]
    kinds = {
        ("conflicts", "bif"): Look(palette.BLACK, "", "D", "Bayesian influence, where they differ"),
        ("all", "bif"): METHODS["bif"]._replace(label="Bayesian influence, all pairs"),
        ("all", "ekfac"): METHODS["ekfac"]._replace(label="EK-FAC, all pairs"),
    }
    axes = figure.subplots(1, len(problems), squeeze=False, sharey=True)[0]
    for ax, problem in zip(axes, problems, strict=True):
        own = select(rows, problem=problem)
        for offset, ((scope, method), look) in zip((-0.22, 0.0, 0.22), kinds.items(), strict=True):
            for _, row in select(own, scope=scope, method=method).iterrows():
                place = judges.index(row["judge"]) + offset
                draw_interval(ax, place, row, look, across=True)
        ax.axvline(0.5, color=palette.GREY, linewidth=0.5, zorder=0)
        ax.set_yticks(range(len(judges)), [JUDGES[name] for name in judges])
        ax.set_ylim(len(judges) - 0.5, -0.5)
        ax.set_xlim(0, 1.02)
        ax.set_xlabel("share of signs that are the judge's")
        ax.set_title(title_of(problem))
    legend_above(figure, method_handles({look.label: look for look in kinds.values()}))


def draw_retraining_mislabel(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: how well each method finds flipped labels."""
    rows = tables["retraining_mislabel"]
    looks, problems = looks_of(rows["method"]), problems_of(rows)
    for ax, problem in zip(
        figure.subplots(1, len(problems), squeeze=False, sharey=True)[0], problems, strict=True
    ):
        own = select(rows, problem=problem)
        reach = 2 * own["se"].fillna(0.0)
        own = own.assign(low=own["value"] - reach, high=own["value"] + reach)
        draw_methods_down(ax, own, looks)
        ax.axvline(0.5, color=palette.GREY, linewidth=0.5, zorder=0)
        ax.set_xlim(0, 1.02)
        ax.set_xlabel("AUROC of flipped against true labels (± 2 se)")
        ax.set_title(title_of(problem))
