"""One run of the smoke configuration that the tests of this folder share."""

import json
import os
from pathlib import Path

import pytest

from support.workflow import SMOKE, Copy, Finished, copy_repository

WITNESS = Path(__file__).parents[1] / "support" / "witness"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of every rule, as `make smoke` does it; see support/witness/sitecustomize.py."""
    copy = copy_repository(tmp_path_factory.mktemp("smoke") / "repository")
    notes = tmp_path_factory.mktemp("witness")
    watched = {
        "PYTHONPATH": f"{WITNESS}{os.pathsep}{copy.environment['PYTHONPATH']}",
        "STAGEWISE_WITNESS": str(notes),
        "STAGEWISE_WITNESS_SOURCE": str((copy.folder / "src").resolve()),
    }
    observed = Copy(copy.folder, copy.environment | watched)
    observed.run(observed.wrapped("all", "toy", "studies", *SMOKE))
    witnesses = [json.loads(path.read_text(encoding="utf-8")) for path in notes.iterdir()]
    return Finished(copy, witnesses)


@pytest.fixture(scope="session")
def smoke(finished: Finished) -> Copy:
    """The copy in which everything was run once; a test leaves it as it finds it."""
    return finished.copy


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which nothing was run."""
    return copy_repository(tmp_path_factory.mktemp("fresh") / "repository")
