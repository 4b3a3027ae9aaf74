"""One run of the smoke configuration that the tests of this folder share."""

import pytest

from support.warm.start import warmed
from support.workflow import SMOKE, Copy, Finished, copy_repository, noted, watched


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of every rule, as `make smoke` does it, but for the stages' cold starts.

    See support/warm/server.py for these.
    """
    copy = copy_repository(tmp_path_factory.mktemp("smoke") / "repository")
    notes = tmp_path_factory.mktemp("witness")
    observed = watched(copy, notes)
    with warmed(observed) as warm:
        warm.run(warm.wrapped("all", "toy", "studies", *SMOKE))
    return noted(copy, notes)


@pytest.fixture(scope="session")
def smoke(finished: Finished) -> Copy:
    """The copy in which everything was run once; a test leaves it as it finds it."""
    return finished.copy


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which nothing was run."""
    return copy_repository(tmp_path_factory.mktemp("fresh") / "repository")
