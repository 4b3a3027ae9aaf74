"""Pack the tables behind every figure, checked, with their hashes and how to draw from them."""

import os
import shutil
import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.errors import SchemaError, StagewiseError
from stagewise.files import sha256_file
from stagewise.plotting.catalogue import FIGURES
from stagewise.plotting.tables import read_table

_README = """\
The tables behind every figure of stagewise {version}. In a clone of it, with this folder in it:

    snakemake figures --config tables={name}/

draws the figures again and runs nothing else. SHA256SUMS has the hash of each table
(`sha256sum -c SHA256SUMS`).

Figures that these tables are enough for: {figures}.
"""


def archive(tables: Path = Path("results/tables"), out: Path = Path("archive")) -> None:
    """Copies tables that figures show, each read and checked, into a folder that it replaces.

    The folder is whole or as it was: it is filled beside its place and then put there. Tables that
    no figure shows, such as those of an older version, are left out.
    """
    wanted = sorted({name for entry in FIGURES.values() for name in entry.tables})
    found = [name for name in wanted if (tables / f"{name}.csv").is_file()]
    if not found:
        raise SchemaError(f"{tables} has no table of a figure: run `make figures` first")
    if out.exists() and not _is_archive(out):
        raise StagewiseError(
            f"{out} holds other things than an archive: move it away, or name another with --out"
        )
    _fill(tables, found, out)
    absent = [name for name in wanted if name not in found]
    print(f"archive: {len(found)} tables in {out}; {len(_drawn(found))} figures can be drawn")
    if absent:
        print(f"archive: this run has no {', '.join(absent)}")
    print(f"archive: redraw from it with snakemake figures --config tables={out}/")


def _fill(tables: Path, names: list[str], out: Path) -> None:
    from stagewise import __version__

    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        sums = []
        for name in names:
            read_table(tables / f"{name}.csv")
            copy = shutil.copy2(tables / f"{name}.csv", partial)
            sums.append(f"{sha256_file(copy)}  {name}.csv\n")
        (partial / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
        text = _README.format(version=__version__, name=out.name, figures=", ".join(_drawn(names)))
        (partial / "README.md").write_text(text, encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _drawn(names: list[str]) -> list[str]:
    return [name for name, entry in FIGURES.items() if set(entry.tables) <= set(names)]


def _is_archive(folder: Path) -> bool:
    """Tells whether a folder holds nothing but what an archive does."""
    kept = {"SHA256SUMS", "README.md"}
    return folder.is_dir() and all(
        path.name in kept or path.suffix == ".csv" for path in folder.iterdir()
    )


main = stage(archive)

if __name__ == "__main__":
    sys.exit(main())
