"""What every test shares: annotations that are checked, and an order that keeps cores busy."""

from pathlib import Path

import jaxtyping
import pytest

import support.checked  # noqa: F401  (the hook finds the checker by this name)
from support.cost import (  # noqa: F401  (hooks of pytest)
    pytest_runtest_logstart,
    pytest_runtest_makereport,
    pytest_terminal_summary,
)

# Shapes and types of annotated arguments are checked under pytest only. The hook stands first:
# it reaches the modules that are imported after it, and none in subprocesses.
jaxtyping.install_import_hook("stagewise", "support.checked.checked")

TESTS = Path(__file__).parent
#: Folders in the order in which two workers should meet them: long ones first.
LONGEST_FIRST = ("workflow", "statistical", "equivalence", "lint", "unit")
#: The fixture of tests/workflow that runs every rule.
SHARED = "finished"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves the checks out of statistical tests: a check costs as much as a step of a chain."""
    unchecked = item.get_closest_marker("statistical") is not None
    jaxtyping.config.update("jaxtyping_disable", unchecked)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks tests by folder; keeps each file, and all that share the smoke run, on one worker.

    A file's module-wide fixtures are then made once, and so is the run of the smoke configuration,
    which comes first: nothing takes longer. Other Snakemakes, which mostly plan, wait or are
    killed, run beside it.
    """
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in ("cluster", "statistical", "workflow"):
            item.add_marker(folder)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(folder, item)))
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        items.sort(key=_place)


def _group(folder: str, item: pytest.Item) -> str:
    return SHARED if _shares(item) else f"{folder}.{item.path.stem}"


def _shares(item: pytest.Item) -> bool:
    """Tells whether a test needs the finished run of the smoke configuration."""
    return SHARED in getattr(item, "fixturenames", ())


def _place(item: pytest.Item) -> tuple[int, bool]:
    folder = item.path.relative_to(TESTS).parts[0]
    known = folder in LONGEST_FIRST
    return LONGEST_FIRST.index(folder) if known else len(LONGEST_FIRST), not _shares(item)
