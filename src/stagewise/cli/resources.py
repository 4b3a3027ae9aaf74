"""Print the time and memory that each rule took, from the benchmark files of a run."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.errors import ConfigError
from stagewise.files import atomic_path
from stagewise.storage.benchmarks import Benchmark, read

BEGIN, END = "<!-- resources: begin -->", "<!-- resources: end -->"
HEADING = "| rule | jobs | longest job | all jobs | memory |\n|---|--:|--:|--:|--:|\n"


def resources(benchmarks: Path = Path("results/benchmarks"), page: Path | None = None) -> None:
    """Prints a row for each rule: its jobs, the longest of them, all together, the largest memory.

    With ``--page`` the table replaces the one between the two marks of that page instead.
    """
    text = table(measured(benchmarks))
    if page is None:
        print(text, end="")
        return
    with atomic_path(page) as temporary:
        temporary.write_text(inserted(page, text), encoding="utf-8")


def measured(folder: Path) -> dict[str, list[Benchmark]]:
    """Returns the benchmarks of a run by rule: ``<rule>.tsv``, or ``<rule>/<wildcards>.tsv``.

    Raises:
        ConfigError: There are none.
    """
    found: dict[str, list[Benchmark]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        found.setdefault(rule, []).append(read(path))
    if not found:
        raise ConfigError(f"{folder} has no benchmark files: run the workflow first (`make paper`)")
    return dict(sorted(found.items()))


def table(rules: Mapping[str, list[Benchmark]]) -> str:
    """Returns the rules as a Markdown table, times in seconds and memory in megabytes."""
    rows = []
    for rule, jobs in rules.items():
        seconds = [job.seconds for job in jobs]
        memory = max((job.megabytes for job in jobs if not math.isnan(job.megabytes)), default=0.0)
        cells = (len(jobs), f"{max(seconds):.0f} s", f"{sum(seconds):.0f} s", f"{memory:.0f} MB")
        rows.append(f"| {rule} | {' | '.join(map(str, cells))} |\n")
    return HEADING + "".join(rows)


def inserted(page: Path, text: str) -> str:
    """Returns a page with a text between its two marks.

    Raises:
        ConfigError: It does not have both marks, once each and in order.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise ConfigError(f"{page} needs the lines {BEGIN} and {END} around its table, once each")
    return f"{before}{begin}{text}{end}{after}"


main = stage(resources)

if __name__ == "__main__":
    sys.exit(main())
