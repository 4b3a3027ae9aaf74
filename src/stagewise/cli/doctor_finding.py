"""One thing that `stagewise doctor` looked at."""

from typing import Literal, NamedTuple

Level = Literal["ok", "note", "missing"]


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do about it.

    Attributes:
        level: "ok"; "note": worth knowing, but it runs; "missing": needed, so that it will not.
        what: Name of the thing.
        text: How it is.
        remedy: What to do; empty where nothing is to be done.
    """

    level: Level
    what: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line, and one more for the remedy."""
        line = f"{self.level:8} {self.what}: {self.text}"
        return f"{line}\n{'':8} -> {self.remedy}" if self.remedy else line


def ok(what: str, text: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding("ok", what, text)


def note(what: str, text: str, remedy: str = "") -> Finding:
    """Return a finding with which the configuration still runs."""
    return Finding("note", what, text, remedy)


def missing(what: str, text: str, remedy: str) -> Finding:
    """Return a finding with which it does not run."""
    return Finding("missing", what, text, remedy)
