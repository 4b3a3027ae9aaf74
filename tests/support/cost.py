"""Where the suite's time goes: CPU seconds of every test file, with those of what it starts.

Wall time depends on what else the machine does, CPU time hardly does. Hooks of pytest, which
conftest.py makes known.
"""

import resource
from collections import Counter

import pytest

#: Files that the summary names, dearest first.
SHOWN = 20
PROPERTY = "cpu_seconds"
_started: dict[str, float] = {}


def cpu_seconds() -> float:
    """CPU time so far, user's and system's, of this process and of children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str, location: tuple) -> None:
    """Keeps the time at which a test, and whatever fixture it makes, begins."""
    _started[nodeid] = cpu_seconds()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> None:
    """Puts the cost of a whole test into its last report, which also comes from workers."""
    if call.when == "teardown":
        spent = cpu_seconds() - _started.pop(item.nodeid, cpu_seconds())
        item.user_properties.append((PROPERTY, spent))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists the dearest files and what all cost."""
    costs: Counter[str] = Counter()
    for report in (one for found in terminalreporter.stats.values() for one in found):
        if getattr(report, "when", None) == "teardown":
            spent = dict(report.user_properties).get(PROPERTY, 0.0)
            costs[report.nodeid.partition("::")[0]] += spent
    if sum(costs.values()) > SHOWN:
        terminalreporter.section("CPU seconds")
        for name, spent in costs.most_common(SHOWN):
            terminalreporter.write_line(f"{spent:8.1f} {name}")
        terminalreporter.write_line(f"{sum(costs.values()):8.1f} in all")
