"""Loaded by every Python of a test's workflow: notes what the process read of the package.

Python imports this at start because its folder is on PYTHONPATH. At the end of a process the files
under src/stagewise that it imported or opened, and the threads it was given, go to a JSON file.

Where STAGEWISE_WARM names a socket, a stage, or the Snakemake of a cluster's job, does not run here
but in a fork of the Python behind it, which has loaded the heavy packages already
(support/warm/server.py); this process waits for its end and has its exit status.
"""

import atexit
import json
import os
import sys
import time

_opened: set[str] = set()


def _listen(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str):
        _opened.add(arguments[0])


def _note() -> None:
    source = os.environ["STAGEWISE_WITNESS_SOURCE"]
    loaded = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    read = {os.path.realpath(name) for name in _opened | loaded if name}
    torch = sys.modules.get("torch")
    record = {
        "command": sys.orig_argv,
        "files": sorted(
            os.path.relpath(name, source)
            for name in read
            # Compiled files are written under another name first.
            if name.startswith(source + os.sep) and "__pycache__" not in name
        ),
        "packages": sorted({name.partition(".")[0] for name in sys.modules}),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "torch_threads": torch.get_num_threads() if torch is not None else None,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    name = f"{os.getpid()}-{time.time_ns()}.json"
    path = os.path.join(os.environ["STAGEWISE_WITNESS"], name)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(record, stream)


def _can_be_forked(command: list[str]) -> bool:
    module = command[2] if command[1:2] == ["-m"] else ""
    if module == "snakemake":
        return ("--mode", "remote") in zip(command, command[1:], strict=False)
    ours = module.startswith("stagewise.cli.")
    return ours and module not in ("stagewise.cli.workflow", "stagewise.cli.scheduler")


def _run_warm() -> int:
    """Has this stage run in a fork; returns its exit status."""
    import socket

    request = {
        "command": sys.orig_argv,
        "folder": os.getcwd(),
        "environment": {**os.environ},
    }
    text = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ.pop("STAGEWISE_WARM"))
        socket.send_fds(connection, [len(text).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(text)
        status = connection.recv(4)
    return int.from_bytes(status, "big", signed=True) if status else 1


if "STAGEWISE_WARM" in os.environ and _can_be_forked(sys.orig_argv):
    os._exit(_run_warm() % 256)
if "STAGEWISE_WITNESS" in os.environ:
    sys.addaudithook(_listen)
    atexit.register(_note)
