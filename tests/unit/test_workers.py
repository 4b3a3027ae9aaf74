"""The suite's division among workers."""

import pytest


def test_a_worker_gets_whole_groups(request: pytest.FixtureRequest) -> None:
    """Catches versions of pytest and xdist that do not know each other.

    Every module-wide fixture would be made on each worker, among them the run of all rules.
    """
    if not hasattr(request.config, "workerinput"):
        pytest.skip("no workers")
    assert request.node.nodeid.endswith("@unit.test_workers")
