"""Committed records of the long studies and of the bench: numbers, commit and day of the run."""

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
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
        parts: Where numbers were recorded study by study: commit, date and keys of each study. The
            record's own commit and date are those of the latest.
    """

    commit: str
    date: str
    numbers: dict[str, dict[str, Any]]
    device: str = ""
    parts: Mapping[str, dict[str, Any]] = MappingProxyType({})


#: Part of a record that was made in one piece and of which another part was made anew.
UNSPLIT = "whole"

#: Fields that a record does without.
_OPTIONAL = ("device", "parts")


def with_part(old: StudyRecord | None, name: str, new: StudyRecord) -> StudyRecord:
    """Return ``old`` with the numbers of one study replaced by those of ``new``.

    Of a record that was never split ``new`` takes its keys; what is left stays one part.

    Raises:
        SchemaError: Another study has a number of the same key.
    """
    parts = _parts(old, new.numbers)
    parts.pop(name, None)
    kept = {key: old.numbers[key] for part in parts.values() for key in part["keys"]} if old else {}
    if both := sorted(kept.keys() & new.numbers.keys()):
        raise SchemaError(
            f"study {name!r} has {both[0]}, which the record has from another study: a key belongs "
            "to one study; rename it in one of them"
        )
    parts[name] = {"commit": new.commit, "date": new.date, "keys": sorted(new.numbers)}
    return new._replace(numbers=kept | new.numbers, parts=dict(sorted(parts.items())))


def _parts(old: StudyRecord | None, without: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parts of a record; what was never split has given up those keys."""
    if old is None:
        return {}
    whole = {"commit": old.commit, "date": old.date, "keys": list(old.numbers)}
    parts = dict(old.parts or {UNSPLIT: whole})
    if rest := parts.pop(UNSPLIT, None):
        keys = sorted(set(rest["keys"]) - set(without))
        parts |= {UNSPLIT: rest | {"keys": keys}} if keys else {}
    return parts


def write(record: StudyRecord, path: str | os.PathLike[str]) -> None:
    """Check a record and write it atomically as JSON.

    Raises:
        SchemaError: A field or a number is malformed.
    """
    content = _checked(record._asdict(), str(path))._asdict()
    write_json(path, {name: one for name, one in content.items() if one or name not in _OPTIONAL})


def read(path: str | os.PathLike[str]) -> StudyRecord:
    """Read and check a record.

    Raises:
        SchemaError: It is missing, truncated or malformed; the message names the field.
    """
    return _checked(read_json(path), str(path))


def _checked(content: object, source: str) -> StudyRecord:
    wanted = [name for name in StudyRecord._fields if name not in _OPTIONAL]
    if not isinstance(content, Mapping) or set(content) - set(_OPTIONAL) != set(wanted):
        raise SchemaError(
            f"{source} needs exactly the fields {wanted}; "
            f"delete it, `make {Path(source).stem}` writes it anew"
        )
    commit, day, numbers = (content[name] for name in wanted)
    device, parts = content.get("device", ""), content.get("parts", {})
    if not isinstance(device, str):
        raise SchemaError(f"{source}: device is {device!r}; allowed is a text")
    _check_origin(commit, day, source)
    if not isinstance(numbers, Mapping):
        raise SchemaError(f"{source}: numbers are no JSON object but {numbers!r}")
    _check_parts(parts, numbers, source)
    return StudyRecord(commit, day, check_numbers(numbers, source), device, dict(parts))


def _check_origin(commit: object, day: object, source: str) -> None:
    if not isinstance(commit, str) or not commit:
        raise SchemaError(f"{source}: commit is {commit!r}; allowed is a text that is not empty")
    if not isinstance(day, str) or not _is_day(day):
        raise SchemaError(f"{source}: date is {day!r}; allowed is YYYY-MM-DD")


def _check_parts(parts: object, numbers: Mapping[str, Any], source: str) -> None:
    """Refuse parts that are malformed, or that do not have every number once."""
    if not isinstance(parts, Mapping):
        raise SchemaError(f"{source}: parts are no JSON object but {parts!r}")
    keys = []
    for name, part in parts.items():
        if not isinstance(part, Mapping) or set(part) != {"commit", "date", "keys"}:
            raise SchemaError(
                f"{source}: part {name!r} needs commit, date and keys, and has {part!r}"
            )
        _check_origin(part["commit"], part["date"], f"{source}, part {name!r}")
        keys += part["keys"]
    if parts and sorted(keys) != sorted(numbers):
        odd = sorted(set(keys) ^ set(numbers)) or [key for key in keys if keys.count(key) > 1]
        raise SchemaError(f"{source}: number {odd[0]} does not belong to exactly one part")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
