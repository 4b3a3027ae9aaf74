"""Compile the paper with its numbers, settings and figures."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stagewise.cli.stage import stage
from stagewise.errors import SchemaError, StagewiseError
from stagewise.files import atomic_path, write_json
from stagewise.storage import studies
from stagewise.storage.metrics import read_numbers

#: What the paper is written in; generated files and figures are put beside these.
SOURCES = ("*.typ", "*.bib", "sections/*.typ")
#: The label under which the paper notes every key that it reads.
_KEY_LABEL = "<number-key>"
#: Committed records of long runs, beside the main file; the paper does without them.
_RECORDS = ("studies", "bench", "gpu", "cluster")


def paper(source: Path, numbers: Path, settings_file: Path, figures: list[Path], out: Path) -> None:
    """Typesets ``--source`` with numbers, settings and figures (files or folders) into a PDF.

    The sources, generated files and figures are laid out in a scratch folder of their own, so that
    they can come from anywhere. Equal inputs give equal bytes: no dates, no fonts of the system.
    A number that the paper needs and ``--numbers`` lacks is refused with its key. The long studies,
    the bench and so on are printed from ``expected/*.json`` beside ``--source``, if they are there.
    """
    found = read_numbers(numbers)
    if missing := missing_keys(source, found, settings_file):
        raise SchemaError(
            f"the paper needs numbers that {numbers} lacks: {', '.join(missing)}; "
            "run the stages that measure them"
        )
    with _laid_out(source, found, settings_file, figures) as entry, atomic_path(out) as temporary:
        temporary.write_bytes(_compile(entry))


def needed_keys(source: Path, numbers: Mapping[str, Any], settings_file: Path) -> list[str]:
    """Returns every key that the paper reads, found by typesetting it without numbers.

    Keys that the text looks for by prefix are those of ``numbers``.

    Raises:
        StagewiseError: The paper does not compile; the message says where.
    """
    import json

    import typst

    with _laid_out(source, numbers, settings_file, []) as entry:
        try:
            found = typst.query(
                str(entry),
                _KEY_LABEL,
                field="value",
                root=str(entry.parent),
                ignore_system_fonts=True,
                sys_inputs={"draft": "true"},
            )
        except typst.TypstError as error:
            raise _explained(error) from error
    return sorted(set(json.loads(found)))


def missing_keys(source: Path, numbers: Mapping[str, Any], settings_file: Path) -> list[str]:
    """Returns the keys that the paper reads and ``numbers`` lacks."""
    return [key for key in needed_keys(source, numbers, settings_file) if key not in numbers]


@contextmanager
def _laid_out(
    source: Path, numbers: Mapping[str, Any], settings_file: Path, figures: Sequence[Path]
) -> Iterator[Path]:
    """Yields the main file in a folder that holds everything it reads."""
    if not source.is_file():
        raise SchemaError(f"{source} does not exist: give the paper's main .typ file")
    with tempfile.TemporaryDirectory(prefix="stagewise-paper-") as name:
        root = Path(name)
        for pattern in SOURCES:
            for path in source.parent.glob(pattern):
                _copy(path, root / path.relative_to(source.parent))
        write_json(root / "generated/numbers.json", dict(numbers))
        _copy(settings_file, root / "generated/settings.json")
        for name in _RECORDS:
            record = source.parent / f"expected/{name}.json"
            content = studies.read(record)._asdict() if record.is_file() else {}
            write_json(root / f"generated/{name}.json", content)
        for path in figures:
            for file in sorted(path.glob("*.pdf")) if path.is_dir() else [path]:
                _copy(file, root / "figures" / file.name)
        yield root / source.name


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _compile(entry: Path) -> bytes:
    import typst

    try:
        return typst.compile(
            str(entry), root=str(entry.parent), format="pdf", ignore_system_fonts=True
        )
    except typst.TypstError as error:
        raise _explained(error) from error


def _explained(error: Exception) -> StagewiseError:
    """Words typst's fault with the place in the sources, without terminal colours."""
    text = getattr(error, "diagnostic", "") or str(error)
    return StagewiseError(f"the paper does not compile:\n{re.sub(chr(27) + r'[^m]*m', '', text)}")


main = stage(paper)

if __name__ == "__main__":
    sys.exit(main())
