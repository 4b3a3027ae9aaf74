"""One run of the smoke configuration that the tests of this folder share."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.workflow import SMOKE, Copy, Finished, copy_repository, noted, watched

SUPPORT = Path(__file__).parents[1] / "support"
#: Within it packages that take seconds on an idle machine are loaded on a crowded one.
START_SECONDS = 600.0


@contextmanager
def warm_python(environment: dict[str, str]) -> Iterator[str]:
    """The socket of a Python that stages are forked from; see support/warm/server.py."""
    # Not in pytest's folder: a socket's path holds about a hundred characters.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warm"
        command = [sys.executable, str(SUPPORT / "warm/server.py"), str(path)]
        with subprocess.Popen(command, env=environment | {"OMP_NUM_THREADS": "1"}) as server:
            try:
                deadline = time.monotonic() + START_SECONDS
                while not path.exists():
                    assert server.poll() is None, "the warm Python ended"
                    assert time.monotonic() < deadline, "the warm Python does not start"
                    time.sleep(0.05)
                yield str(path)
            finally:
                server.terminate()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of every rule, as `make smoke` does it, but for the stages' cold starts.

    See support/warm/server.py for these.
    """
    copy = copy_repository(tmp_path_factory.mktemp("smoke") / "repository")
    notes = tmp_path_factory.mktemp("witness")
    observed = watched(copy, notes)
    with warm_python(observed.environment) as socket:
        warm = Copy(copy.folder, observed.environment | {"STAGEWISE_WARM": socket})
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
