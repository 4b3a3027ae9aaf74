"""Merge the numbers of all stages into what the paper reads, and write them for LaTeX."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.root import Root
from stagewise.evaluation.numbers import latex_tables, macros
from stagewise.files import atomic_path, write_json
from stagewise.storage.metrics import merge_numbers, read_numbers, write_numbers


def numbers(
    metrics: list[Path],
    out: Path,
    tex: Path | None = None,
    tables_tex: Path | None = None,
    settings: Root | None = None,
    settings_out: Path | None = None,
) -> None:
    """Merges numbers files into one flat JSON object; a key that two of them hold is refused.

    ``--tex`` gets a macro that prints any number by key, ``--tables-tex`` booktabs tables.
    ``--settings``, the whole configuration, goes to ``--settings-out`` as validated, defaults
    included: the paper's appendix is made from it.
    """
    merged = merge_numbers({str(path): read_numbers(path) for path in metrics})
    write_numbers(merged, out)
    for path, write in ((tex, macros), (tables_tex, latex_tables)):
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(write(merged), encoding="utf-8")
    if settings is not None and settings_out is not None:
        write_json(settings_out, settings.model_dump(mode="json"))


main = stage(numbers)

if __name__ == "__main__":
    sys.exit(main())
