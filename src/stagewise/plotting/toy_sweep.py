"""How the agreement of the local posterior with its references depends on its settings."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from stagewise.plotting import palette
from stagewise.plotting.marks import present, select


def draw_sweep(ax: Axes, table: pd.DataFrame) -> AxesImage:
    """Draws the correlation r over (n_beta, localization) with its error and the local fraction.

    Args:
        ax: Axes to draw on.
        table: Rows of one target and relaxation: n_beta, localization, r, se, local_fraction.

    Returns:
        The image, for a colour bar; blank where a cell has no value.
    """
    cells = table.pivot(
        index="n_beta", columns="localization", values=["r", "se", "local_fraction"]
    )
    r = cells["r"].to_numpy()
    image = ax.imshow(r, origin="lower", cmap=palette.DIVERGING, vmin=-1, vmax=1, aspect="auto")
    ax.set_xticks(range(r.shape[1]), [f"{value:g}" for value in cells["r"].columns])
    ax.set_yticks(range(r.shape[0]), [f"{value:g}" for value in cells["r"].index])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    for row, column in np.argwhere(np.isfinite(r)):
        se, local = (cells[name].to_numpy()[row, column] for name in ("se", "local_fraction"))
        text = f"{r[row, column]:.3f}\n± {se:.3f}\nlocal {100 * local:.0f}%"
        ink = "white" if abs(r[row, column]) > 0.65 else "black"
        ax.text(column, row, text, ha="center", va="center", fontsize=5.5, color=ink)
    return image


def draw_toy_sweep(figure: Figure, tables: Mapping[str, pd.DataFrame]) -> None:
    """Fills ``figure``: a column per target of the comparison, a row per relaxation."""
    table = tables["toy_sweep"]
    targets = present(palette.TARGETS, table["target"])
    shares = sorted(table["relaxation"].unique())
    axes = figure.subplots(len(shares), len(targets), sharex=True, sharey=True, squeeze=False)
    for row, relaxation in enumerate(shares):
        for column, target in enumerate(targets):
            ax = axes[row, column]
            image = draw_sweep(ax, select(table, relaxation=relaxation, target=target))
            if row == 0:
                ax.set_title(palette.TARGETS[target])
            if row == len(shares) - 1:
                ax.set_xlabel("localization γ")
        axes[row, 0].set_ylabel(f"nβ   (εγ = {relaxation:g})")
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=18)
    bar.set_label("correlation over training")
    bar.outline.set_visible(False)
