"""Starts the Python that stages are forked from; see server.py."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.workflow import Copy

SERVER = Path(__file__).with_name("server.py")
#: Within it packages that take seconds on an idle machine are loaded on a crowded one.
START_SECONDS = 600.0


@contextmanager
def warmed(copy: Copy) -> Iterator[Copy]:
    """The copy of `watched`, with an environment in which stages are forks of a warm Python."""
    # Not in pytest's folder: a socket's path holds about a hundred characters.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warm"
        command = [sys.executable, str(SERVER), str(path)]
        environment = copy.environment | {"OMP_NUM_THREADS": "1"}
        # UMAP compiles for half a minute, to lay out a dozen points.
        forked = {"STAGEWISE_WARM": str(path), "NUMBA_DISABLE_JIT": "1"}
        with subprocess.Popen(command, env=environment) as server:
            try:
                deadline = time.monotonic() + START_SECONDS
                while not path.exists():
                    assert server.poll() is None, "the warm Python ended"
                    assert time.monotonic() < deadline, "the warm Python does not start"
                    time.sleep(0.05)
                yield Copy(copy.folder, copy.environment | forked)
            finally:
                server.terminate()
