"""Committed records of the long studies and of the bench: numbers, commit and day of the run."""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from stagewise.errors import SchemaError
from stagewise.files import read_json, write_json
from stagewise.storage.metrics import check_numbers


class StudyRecord(NamedTuple):
    """Numbers of the long studies and where they come from.

    Attributes:
        commit: Commit that was run, ending in ``-dirty`` if files differed from it.
        date: Day on which they were recorded, ``YYYY-MM-DD``.
        numbers: One flat numbers object, as in `stagewise.storage.metrics`.
        device: What it ran on, where that is not the machine of the other records; else empty.
    """

    commit: str
    date: str
    numbers: dict[str, dict[str, Any]]
    device: str = ""


def write(record: StudyRecord, path: str | os.PathLike[str]) -> None:
    """Check a record and write it atomically as JSON.

    Raises:
        SchemaError: A field or a number is malformed.
    """
    content = _checked(record._asdict(), str(path))._asdict()
    if not record.device:
        del content["device"]
    write_json(path, content)


def read(path: str | os.PathLike[str]) -> StudyRecord:
    """Read and check a record.

    Raises:
        SchemaError: It is missing, truncated or malformed; the message names the field.
    """
    return _checked(read_json(path), str(path))


def _checked(content: object, source: str) -> StudyRecord:
    wanted = [name for name in StudyRecord._fields if name != "device"]
    if not isinstance(content, Mapping) or set(content) - {"device"} != set(wanted):
        raise SchemaError(
            f"{source} needs exactly the fields {wanted}; "
            f"delete it, `make {Path(source).stem}` writes it anew"
        )
    commit, day, numbers = (content[name] for name in wanted)
    device = content.get("device", "")
    if not isinstance(device, str):
        raise SchemaError(f"{source}: device is {device!r}; allowed is a text")
    if not isinstance(commit, str) or not commit:
        raise SchemaError(f"{source}: commit is {commit!r}; allowed is a text that is not empty")
    if not isinstance(day, str) or not _is_day(day):
        raise SchemaError(f"{source}: date is {day!r}; allowed is YYYY-MM-DD")
    if not isinstance(numbers, Mapping):
        raise SchemaError(f"{source}: numbers are no JSON object but {numbers!r}")
    return StudyRecord(commit, day, check_numbers(numbers, source), device)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
