"""The Bayesian influence's score by the sampler's settings, and every method's by seconds."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagewise.plotting import palette
from stagewise.plotting.marks import legend_above, select, shades
from stagewise.plotting.retraining_looks import METHODS, draw_interval, looks_of, method_handles

#: Seconds below which a method counts as free: a logarithm has no place for nothing.
_FREE = 1e-3
_SCORE = "linear datamodelling score"
#: Words of the gradients, as cells are named.
_ESTIMATORS = {
    (0, False): "full",
    (1, False): "minibatch of {}",
    (1, True): "minibatch of {}, control variate",
}


def draw_retraining_sensitivity(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: the grid above, budgets, checkpoints and kernels, gradients below."""
    rows = tables["retraining_sensitivity"]
    grid = rows[rows["axis"] == "grid"]
    steps = sorted(set(grid["step"]))
    parts = figure.subfigures(3, 1, height_ratios=[1.0, 1.0, 1.5])
    for ax, step in zip(parts[0].subplots(1, len(steps), squeeze=False)[0], steps, strict=True):
        _draw_grid(ax, select(grid, step=step))
        ax.set_title(f"step {step:g} × calibrated")
    parts[0].axes[0].set_ylabel("nβ")
    budget, checkpoints, kernels = parts[1].subplots(1, 3, width_ratios=[1.0, 1.0, 0.8])
    _draw_budget(budget, rows[rows["axis"] == "budget"])
    _draw_checkpoints(checkpoints, rows[rows["axis"] == "checkpoints"])
    own = rows[rows["axis"] == "kernels"]
    _draw_down(kernels, own, [f"{k}, {p}" for k, p in zip(own.kernel, own.potential, strict=True)])
    own = rows[rows["axis"] == "gradients"]
    _draw_down(parts[2].subplots(), own, [_gradient_words(row) for row in own.itertuples()])


def _gradient_words(row: object) -> str:
    # Minibatches of the recentred potential are differences always.
    varied = bool(row.batch_size) and (bool(row.control_variate) or row.potential == "recentred")
    words = _ESTIMATORS[int(row.batch_size > 0), varied].format(row.batch_size)
    who = "calibrated" if row.settings == "calibrated" else f"by hand ({row.settings})"
    return f"{who}, {row.potential}, {words}"


def _draw_grid(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws scores over (damping, nβ), each with its error; crosses where chains diverged."""
    value, se = (
        rows.pivot(index="n_beta", columns="damping", values=name) for name in ("value", "se")
    )
    ax.imshow(
        value.to_numpy(), origin="lower", cmap=palette.SEQUENTIAL, vmin=0.0, vmax=1.0, aspect="auto"
    )
    ax.set_xticks(range(value.shape[1]), [f"{one:g}" for one in value.columns])
    ax.set_yticks(range(value.shape[0]), [f"{one:.0e}" for one in value.index])
    ax.set_xlabel("damping γ/nβ")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    for row, column in np.ndindex(value.shape):
        one, error = value.iat[row, column], se.iat[row, column]
        text = f"{one:.2f}\n± {error:.2f}" if np.isfinite(one) else "×"
        ink = "white" if np.isfinite(one) and one < 0.5 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=5.5, color=ink)


def _draw_budget(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws scores against draws per chain, a line for each number of chains."""
    groups = list(rows.groupby("chains"))
    for colour, (chains, own) in zip(shades(len(groups)), groups, strict=True):
        own = own.sort_values("draws")
        ends = _ends(own)
        label = f"{chains} chains"
        ax.errorbar(
            own["draws"], own["value"], yerr=ends, color=colour, marker="o", ms=2.5, label=label
        )
    ax.set_xscale("log")
    ax.set_xlabel("draws per chain")
    ax.set_ylabel(_SCORE)
    ax.legend(loc="best")


def _draw_checkpoints(ax: Axes, rows: pd.DataFrame) -> None:
    """Draws scores against the optimiser step of the network that is sampled."""
    own = rows.sort_values("optimiser_step")
    for _, row in own.iterrows():
        draw_interval(ax, row["optimiser_step"], row, METHODS["bif"])
    ax.plot(own["optimiser_step"], own["value"], color=palette.GREY, linewidth=0.6, zorder=0)
    ax.set_xlabel("training step of the checkpoint")
    ax.set_ylabel(_SCORE)


def _ends(rows: pd.DataFrame) -> np.ndarray:
    """Returns how far intervals reach below and above their values."""
    return np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]])


def _draw_down(ax: Axes, rows: pd.DataFrame, words: list[str]) -> None:
    """Draws one interval for each row, one below the other, words at the left."""
    for place, (_, row) in enumerate(rows.iterrows()):
        if np.isfinite(row["value"]):
            draw_interval(ax, place, row, METHODS["bif"], across=True)
        else:
            ax.text(0.0, place, "diverged", va="center", fontsize=5.5)
    ax.set_yticks(range(len(words)), words)
    ax.set_ylim(len(words) - 0.5, -0.5)
    ax.axvline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
    ax.set_xlabel("score")


def draw_retraining_speed(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: score against seconds; small: the Bayesian influence at other budgets."""
    rows = tables["retraining_speed"]
    looks, ax = looks_of(rows["method"]), figure.subplots()
    for method, look in looks.items():
        for _, row in select(rows, method=method, kind="chosen").iterrows():
            draw_interval(ax, max(row["seconds"], _FREE), row, look)
    budget = select(rows, kind="budget").sort_values("seconds")
    ax.errorbar(
        budget["seconds"].clip(lower=_FREE),
        budget["value"],
        yerr=_ends(budget),
        color=METHODS["bif"].colour,
        marker=".",
        markersize=3,
        linestyle="none",
        elinewidth=0.4,
        alpha=0.5,
    )
    ax.axhline(0.0, color=palette.GREY, linewidth=0.5, zorder=0)
    ax.set_xscale("log")
    ax.set_xlabel("seconds of one use, one core")
    ax.set_ylabel(f"{_SCORE}, α = 0.5")
    legend_above(figure, method_handles(looks), columns=4)
