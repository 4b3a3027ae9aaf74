"""Loaded by every Python of a test's workflow: notes what the process read of the package.

Python imports this at start because its folder is on PYTHONPATH. At the end of a process the files
under src/stagewise that it imported or opened, and the threads it was given, go to a JSON file.
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
            if name.startswith(source + os.sep) and not name.endswith(".pyc")
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


if "STAGEWISE_WITNESS" in os.environ:
    sys.addaudithook(_listen)
    atexit.register(_note)
