"""Draw one figure from tidy tables."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.errors import ConfigError
from stagewise.files import atomic_path
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.style import new_figure, save_pdf, save_png, settle, styled
from stagewise.plotting.tables import read_tables


def figure(name: str, tables: list[Path], pdf: Path | None = None, png: Path | None = None) -> None:
    """Draws one figure as PDF, PNG or both; equal tables give equal bytes.

    ``--tables`` takes a folder of CSV files or the files themselves, ``--name`` a name such as
    toy_modes; an unknown one is refused with the list of names.
    """
    if name not in FIGURES:
        raise ConfigError(f"no figure is named {name!r}; there are {', '.join(FIGURES)}")
    entry = FIGURES[name]
    data = read_tables(entry.tables, tables)
    with styled():
        figure = new_figure(entry.height)
        entry.draw(figure, data)
        settle(figure)
        for path, save in ((pdf, save_pdf), (png, save_png)):
            if path is not None:
                with atomic_path(path) as temporary:
                    save(figure, temporary)


main = stage(figure)

if __name__ == "__main__":
    sys.exit(main())
