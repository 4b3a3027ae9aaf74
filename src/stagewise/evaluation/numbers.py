"""The numbers of the paper: written for LaTeX, and compared with the committed record."""

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stagewise.errors import ConfigError, SchemaError

Entry = Mapping[str, Any]
Numbers = Mapping[str, Entry]

#: How many standard errors of a difference of two runs may lie between a run and the record.
ERRORS = 5 * math.sqrt(2)
#: Round-off, for a number without an error and without a tolerance of its own.
ROUND_OFF = 1e-9
_TIMING = ("minutes", "seconds", "per_second", "resumed")


#: What a rule of tolerances.yaml may give: a size that replaces the errors, or one below them.
_SIZES = {"absolute", "relative", "at_least"}


class Tolerance(NamedTuple):
    """What tolerances.yaml allows for the keys that match a pattern.

    ``absolute`` and ``relative`` replace 5·√2·se; ``at_least`` is its lower limit.
    """

    pattern: str
    absolute: float
    relative: float
    at_least: float | None
    reason: str


class Deviation(NamedTuple):
    """A number that is not what the record says."""

    key: str
    message: str


def is_timing(key: str) -> bool:
    """Tells whether a number is of one run: a time, a speed, or how many of its jobs resumed.

    Some word of its key ends so: ``toy.minutes``, ``retraining.digits_mlp.seconds.ekfac``.
    """
    return any(word.endswith(_TIMING) for word in key.split("."))


def parse_tolerances(document: Any, source: str = "tolerances") -> list[Tolerance]:
    """Reads ``{pattern: {absolute | relative | at_least: number, reason: text}}``.

    A pattern is a key, in which ``*`` stands for any text.

    Raises:
        ConfigError: A pattern has none or several of the numbers, a negative one, or no reason.
    """
    found = []
    for pattern, rule in (document or {}).items():
        given = set(rule) if isinstance(rule, Mapping) else set()
        kinds = given & _SIZES
        if len(kinds) != 1 or given - kinds != {"reason"} or not str(rule["reason"]).strip():
            raise ConfigError(
                f"{source}: {pattern} needs one of 'absolute', 'relative' and 'at_least', "
                f"and a 'reason': {rule}"
            )
        (kind,) = kinds
        size = rule[kind]
        if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 0:
            raise ConfigError(f"{source}: {pattern} has tolerance {size!r}; need a number ≥ 0")
        sizes = {"absolute": 0.0, "relative": 0.0, "at_least": None} | {kind: float(size)}
        found.append(Tolerance(pattern, reason=str(rule["reason"]), **sizes))
    return found


def tolerance_of(key: str, expected: Entry, tolerances: Sequence[Tolerance]) -> tuple[float, str]:
    """How far a number may lie from the record, and why.

    The first pattern of ``tolerances`` that matches decides; else 5·√2·se with the *recorded*
    error, so that a noisier run does not widen its own gate; else round-off. An error of 0, as of
    seeds that all fall on one checkpoint, says nothing of a repeated run and counts as none.
    """
    if expected["se"]:
        usual = ERRORS * expected["se"], "5·√2·se of the record"
    else:
        usual = ROUND_OFF * abs(expected["value"]), "round-off; it has no se and no tolerance"
    for rule in tolerances:
        if fnmatch.fnmatchcase(key, rule.pattern):
            if rule.at_least is not None:
                return max(usual, (rule.at_least, rule.reason))
            return rule.absolute + rule.relative * abs(expected["value"]), rule.reason
    return usual


def deviations(
    numbers: Numbers, expected: Numbers, tolerances: Sequence[Tolerance] = ()
) -> Iterator[Deviation]:
    """Yields, in order of key, the recorded numbers that are missing or differ too much.

    Timings never deviate. A count n that differs does: it is not the same measurement.
    """
    for key in sorted(expected):
        if is_timing(key):
            continue
        if key not in numbers:
            yield Deviation(key, "is in the record, but not among the numbers")
        elif message := _difference(key, numbers[key], expected[key], tolerances):
            yield Deviation(key, message)


def _difference(
    key: str, found: Entry, expected: Entry, tolerances: Sequence[Tolerance]
) -> str | None:
    value, recorded = found["value"], expected["value"]
    if value is None or recorded is None:
        return None if value is recorded else f"is {value}, the record says {recorded}"
    allowed, reason = tolerance_of(key, expected, tolerances)
    if not abs(value - recorded) <= allowed:
        return (
            f"is {value:.6g}, the record says {recorded:.6g}: "
            f"off by {abs(value - recorded):.3g}, allowed {allowed:.3g} ({reason})"
        )
    if found["n"] != expected["n"]:
        return f"has n = {found['n']}, the record has n = {expected['n']}"
    return None


def unrecorded(numbers: Numbers, expected: Numbers) -> list[str]:
    """Returns the keys that the record does not have."""
    return sorted(set(numbers) - set(expected))


def significant(value: float, digits: int) -> str:
    """Writes a number with ``digits`` significant digits, scientifically if far from one."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent <= 5:
        return f"{value:.{max(digits - 1 - exponent, 0)}f}"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return rf"{mantissa}\times 10^{{{int(power)}}}"


def in_latex(entry: Entry) -> str:
    """Writes a number as LaTeX: value ± se, to two digits of the error, or three of the value."""
    value, se = entry["value"], entry["se"]
    if value is None:
        return r"\text{none}"
    if not se:
        return str(value) if isinstance(value, int) else significant(value, 3)
    exponent = math.floor(math.log10(max(abs(value), se)))
    power = exponent if not -4 <= exponent <= 5 else 0
    places = max(1 - math.floor(math.log10(se)) + power, 0)
    both = rf"{value / 10**power:.{places}f} \pm {se / 10**power:.{places}f}"
    return both if power == 0 else rf"({both})\times 10^{{{power}}}"


def macros(numbers: Numbers) -> str:
    r"""Writes numbers.tex: ``\stagewise{toy.modes.max_rel_error}`` prints a number anywhere.

    A key that does not exist stops LaTeX with its name.
    """
    lines = [
        "% Written by stagewise.cli.numbers; not by hand. Needs amsmath.",
        r"\newcommand{\stagewise}[1]{\ifcsname stagewise@#1\endcsname"
        r"\ensuremath{\csname stagewise@#1\endcsname}\else"
        r"\errmessage{stagewise: no number has the key #1}\fi}",
    ]
    for key, entry in sorted(numbers.items()):
        lines.append(
            rf"\expandafter\def\csname stagewise@{key}\endcsname{{{in_latex(entry)}}}"
            + (f" % n = {entry['n']}" if entry["n"] is not None else "")
        )
    return "\n".join(lines) + "\n"


def latex_tables(numbers: Numbers) -> str:
    """Writes tables.tex: one booktabs table for each group of keys with the same first two words.

    Raises:
        SchemaError: There are no numbers.
    """
    if not numbers:
        raise SchemaError("there are no numbers to write a table of: run the stages that make them")
    groups: dict[str, list[str]] = {}
    for key in sorted(numbers):
        groups.setdefault(".".join(key.split(".")[:2]), []).append(key)
    header = "% Written by stagewise.cli.numbers; not by hand. Needs amsmath and booktabs.\n"
    return header + "\n".join(_table(name, keys, numbers) for name, keys in groups.items())


def _table(name: str, keys: Sequence[str], numbers: Numbers) -> str:
    rows = []
    for key in keys:
        entry = numbers[key]
        count = "" if entry["n"] is None else str(entry["n"])
        rows.append(
            f"{_escape(key)} & ${in_latex(entry)}$ & {count} & {_escape(entry['unit'])} \\\\"
        )
    return "\n".join(
        [
            r"\begin{table}",
            rf"  \caption{{Numbers of {_escape(name)}: value $\pm$ standard error.}}",
            rf"  \label{{tab:{name}}}",
            r"  \begin{tabular}{llrl}",
            r"    \toprule key & value & $n$ & unit \\ \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "_%&#$" else letter for letter in text)
