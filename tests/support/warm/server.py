"""A Python in which heavy packages are loaded once, and from which stages are forked.

A stage of the smoke configuration computes for a tenth of a second, after seconds of imports. In
the suite's run of all rules the imports of other people's packages are therefore done here, once:
``server.py SOCKET`` forks for each stage that asks (see sitecustomize.py in `witness`), and the
fork goes on as ``python -m STAGE`` would, with the folder, environment, arguments and open files of
the process that Snakemake started, and with no module of ours loaded. The Snakemakes that a cluster
starts for each of its jobs are such forks too. Cold starts are tested where
they matter: where runs are killed, where commands are pasted, and by ``make smoke``.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
from typing import Any

#: What most stages import; what only one imports would be loaded once in any case.
PACKAGES = (
    "torch",
    "torch.func",
    "torch.nn.functional",
    "transformers.models.gpt_neox.modeling_gpt_neox",
    "torchvision.models.googlenet",
    "torchvision.transforms.v2",
    "pandas",
    "xarray",
    "h5netcdf",
    "scipy.optimize",
    "scipy.stats",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.figure",
    "pydantic",
    "kronfluence.analyzer",
    "sklearn.datasets",
    "scipy.cluster.hierarchy",
    "scipy.sparse.csgraph",
    "PIL.Image",
    "snakemake.cli",
    "snakemake.report",
    "snakemake.storage",
)
#: Standard input, output and errors.
STREAMS = 3


def serve(path: str) -> dict[str, Any]:
    """Answers every process that asks; returns, in the fork alone, what it asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies of those who wait for stages
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        os.rename(f"{path}.new", path)  # who sees the socket may connect
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return answer(connection)


def answer(connection: socket.socket) -> dict[str, Any]:
    """Forks the stage, in which this returns; here it waits and sends the exit status."""
    size, files, _, _ = socket.recv_fds(connection, 8, STREAMS)
    with connection.makefile("rb") as stream:
        request = json.loads(stream.read(int.from_bytes(size, "big")))
    if (stage := os.fork()) == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return request
    _, status = os.waitpid(stage, 0)
    with contextlib.suppress(OSError):  # the one who asked was killed meanwhile
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Goes on as ``python -m STAGE ARGUMENTS`` in the other process would."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.orig_argv[:] = request["command"]
    _, _, module, *arguments = request["command"]
    sys.argv[:] = [module, *arguments]
    sys.path[0] = request["folder"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise  # a text, which Python prints
        leave(end.code or 0)
    leave(0)


def leave(status: int) -> None:
    """Ends this process as Python would, but for the objects of the packages.

    To take these down one by one costs four seconds of a processor, more than to load them.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status % 256)


if __name__ == "__main__":
    for name in PACKAGES:
        importlib.import_module(name)
    sys.modules["snakemake.cli"].get_argument_parser()  # finds the plugins
    gc.freeze()  # forks need not look through what was loaded here
    become(serve(sys.argv[1]))
