"""What every test shares: annotations that are checked, and an order that keeps cores busy."""

from pathlib import Path

import jaxtyping
import pytest

import support.checked  # noqa: F401  (the hook finds the checker by this name)

# Shapes and types of annotated arguments are checked under pytest only. The hook stands first:
# it reaches the modules that are imported after it, and none in subprocesses.
jaxtyping.install_import_hook("stagewise", "support.checked.checked")

TESTS = Path(__file__).parent
#: Folders in the order in which two workers should meet them: long ones first.
LONGEST_FIRST = ("workflow", "statistical", "equivalence", "lint", "unit")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves the checks out of statistical tests: a check costs as much as a step of a chain."""
    unchecked = item.get_closest_marker("statistical") is not None
    jaxtyping.config.update("jaxtyping_disable", unchecked)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks tests by folder and keeps each file, and the whole workflow folder, on one worker.

    A file's module-wide fixtures are then made once. Workflow tests share one run of the smoke
    configuration, and two Snakemakes at once would only fight for the cores.
    """
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in ("cluster", "statistical", "workflow"):
            item.add_marker(folder)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(_group(folder, item.path)))
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        items.sort(key=lambda item: _place(item.path.relative_to(TESTS).parts[0]))


def _group(folder: str, path: Path) -> str:
    return folder if folder == "workflow" else f"{folder}.{path.stem}"


def _place(folder: str) -> int:
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)
