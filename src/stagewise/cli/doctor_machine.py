"""The machine: Python and packages, torch and CUDA, cores and memory, disk and write access."""

import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from stagewise.cli.doctor_finding import Finding, missing, note, ok
from stagewise.config.root import Root
from stagewise.errors import StagewiseError
from stagewise.files import exclusive_lock

#: What the default run takes; larger ones say so in `stagewise plan`.
MEMORY_GB, DISK_GB = 8.0, 6.0
#: torchvision 0.x is built against torch 2.(x - 15).
MINORS_APART = 15
_INSTALL = "make installs the locked versions: rm -rf .venv && make .venv"


def examine(config: Root) -> Iterator[Finding]:
    """Look at everything that does not depend on data."""
    yield python()
    yield packages()
    yield torch_pair()
    yield cuda(needs_gpu(config))
    yield from cores_and_memory()
    yield from folders([Path(config.results), Path(config.paper or "paper"), Path(".snakemake")])
    yield disk(Path(config.results))


def needs_gpu(config: Root) -> list[str]:
    """Names of the runs whose jobs ask for a GPU."""
    language = [
        f"language.runs.{name}"
        for name, run in config.language.runs.items()
        if run.network.kind == "pretrained"
    ]
    vision = [
        f"vision.runs.{name}"
        for name, run in config.vision.runs.items()
        if run.source.kind == "image_folder"
    ]
    retraining = [
        f"retraining.problems.{name}"
        for name, problem in config.retraining.problems.items()
        if problem.large
    ]
    return language + vision + retraining


def python() -> Finding:
    """Python itself."""
    from packaging.specifiers import SpecifierSet

    found, allowed = platform.python_version(), metadata.metadata("stagewise")["Requires-Python"]
    if found not in SpecifierSet(allowed):
        text = f"{found}, allowed is {allowed}"
        return missing("python", text, "install one and name it: make .venv PYTHON=python3.11")
    return ok("python", f"{found} at {sys.prefix}")


def packages() -> Finding:
    """What pyproject.toml asks for: installed, and in the range that it allows."""
    from packaging.requirements import Requirement

    wrong = []
    for line in metadata.requires("stagewise") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
            continue
        if version not in wanted.specifier:
            wrong.append(f"{wanted.name} is {version}, allowed are {wanted.specifier}")
    if wrong:
        return missing("packages", "; ".join(wrong), _INSTALL)
    return ok("packages", "all installed, in the ranges of pyproject.toml")


def torch_pair() -> Finding:
    """A torchvision that was built against this torch."""
    try:
        torch, vision = metadata.version("torch"), metadata.version("torchvision")
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:  # the last: operators that do not exist
        first = str(error).partition("\n")[0]
        return missing("torch and torchvision", f"cannot be imported ({first})", _INSTALL)
    minors = [int(number) for number in re.findall(r"^\d+\.(\d+)", f"{torch}\n{vision}", re.M)]
    if minors[1] - minors[0] != MINORS_APART:
        text = f"torch {torch} and torchvision {vision} are no pair"
        wanted = f"torch 2.{minors[0]} goes with torchvision 0.{minors[0] + MINORS_APART}"
        return missing("torch and torchvision", text, f"{wanted}; {_INSTALL}")
    return ok("torch and torchvision", f"{torch} with {vision}")


def cuda(runs: list[str]) -> Finding:
    """A GPU, where runs ask for one."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return missing("cuda", f"torch cannot be imported ({error})", _INSTALL)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return ok("cuda", f"{torch.version.cuda} with {', '.join(names)}")
    if not runs:
        return ok("cuda", "no GPU, and none is needed")
    built = "torch is built without CUDA" if torch.version.cuda is None else "no GPU is seen"
    return note(
        "cuda",
        f"{built}, but {', '.join(runs)} ask for one",
        "run them where nvidia-smi lists a GPU, or on the CPU with --resources gpu=0, which takes "
        "far longer (stagewise plan)",
    )


def cores_and_memory() -> Iterator[Finding]:
    """What this process may use, by the machine and by its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield ok("cores", f"{cores}; budgets are stated for 2")
    total = _memory_limit() / 1e9
    if total < 0.9 * MEMORY_GB:
        text = f"{total:.1f} GB, the default run takes up to {MEMORY_GB:.0f}"
        yield note("memory", text, "run one job at a time: --cores 1")
    else:
        yield ok("memory", f"{total:.1f} GB; stagewise plan says what jobs take")


def _memory_limit() -> float:
    """Bytes of memory: the machine's, or what a container's limit leaves of it."""
    total = float(psutil.virtual_memory().total)
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(place).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text.isdecimal():
            total = min(total, float(text))
    return total


def folders(paths: list[Path]) -> Iterator[Finding]:
    """Folders that are written to: a file can be made, synced and locked in each."""
    for path in paths:
        place = _existing(path)
        try:
            with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as folder:
                with exclusive_lock(Path(folder, "lock")):
                    Path(folder, "file").write_text("written", encoding="utf-8")
        except (OSError, StagewiseError) as error:
            yield missing(
                f"write access to {path}",
                f"{getattr(error, 'strerror', None) or error}",
                f"make {place} writable for you (ls -ld {place}), or set `results` in the config "
                "to a folder that is",
            )
        else:
            yield ok(f"write access to {path}", "files can be made and locked")


def disk(results: Path) -> Finding:
    """Room where results go."""
    place = _existing(results)
    free = shutil.disk_usage(place).free / 1e9
    if free < 1:
        return missing(f"disk under {results}", f"{free:.1f} GB free", "free some, at least 2 GB")
    if free < DISK_GB:
        return note(f"disk under {results}", f"{free:.1f} GB free; stagewise plan says how much")
    return ok(f"disk under {results}", f"{free:.0f} GB free; stagewise plan says what is needed")


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.is_dir())
