"""Figures without global state, and files that are the same bytes on every run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("stagewise.mplstyle")
TEXT_WIDTH = 6.3

#: A date, or the name of a version, would make equal figures differ.
PDF_METADATA = {"Creator": "stagewise", "Producer": None, "CreationDate": None}
PNG_METADATA = {"Software": None}


@contextmanager
def styled() -> Iterator[None]:
    """Applies the style sheet on top of matplotlib's defaults, whatever the user's own settings."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(mpl.rc_params_from_file(STYLE, use_default_template=False))
        yield


def new_figure(height: float, width: float = TEXT_WIDTH) -> Figure:
    """Returns an empty figure of the given size in inches; call inside `styled`."""
    return Figure(figsize=(width, height))


def settle(figure: Figure) -> None:
    """Lays the figure out once, so that all its files look the same and cost one layout less."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save_pdf(figure: Figure, path: Path) -> None:
    """Writes ``figure`` as PDF without dates."""
    figure.savefig(path, format="pdf", metadata=PDF_METADATA)


def save_png(figure: Figure, path: Path) -> None:
    """Writes ``figure`` as PNG without the writing program's version."""
    figure.savefig(path, format="png", metadata=PNG_METADATA)
