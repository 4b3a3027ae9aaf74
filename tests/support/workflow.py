"""A copy of the repository in which a test may run Snakemake, edit code and kill processes."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from stagewise.cli.watchdog import VARIABLE
from support.repository import ROOT, committed_files

#: What a run needs; the rest of the repository is left out of the copies.
PARTS = ("Snakefile", "config", "paper", "profiles", "src", "workflow")
SMOKE = ("--configfile", "config/smoke.yaml")
WITNESS = Path(__file__).parent / "witness"


@dataclass
class Copy:
    """A copy of the repository with an environment in which its own package is imported."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """Snakemake itself, as a person would start it."""
        return [sys.executable, "-m", "snakemake", *arguments]

    def wrapped(self, *arguments: str) -> list[str]:
        """Snakemake as ``make`` starts it."""
        return [sys.executable, "-m", "stagewise.cli.workflow", *arguments]

    def start(self, command: list[str], **options: object) -> subprocess.Popen:
        """Starts a command in the copy, in a session of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A suite in the background of a shell ignores Ctrl-C, and so would what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    def run(self, command: list[str], *, status: int | None = 0) -> str:
        """Runs a command to its end and returns its output, both streams together."""
        process = self.start(command)
        output, _ = process.communicate()
        if status is not None:
            assert process.returncode == status, output
        return output

    def planned(self, *arguments: str) -> Counter[str]:
        """Counts the jobs of each rule that a run with these arguments would start."""
        return count_jobs(self.run(self.command("-n", *arguments)))

    def log(self, name: str, results: str = "results/smoke") -> str:
        """Text of a job's log."""
        return (self.folder / results / "logs" / name).read_text(encoding="utf-8")


def count_jobs(plan: str) -> Counter[str]:
    """Counts the jobs of each rule in what a dry run prints."""
    return Counter(re.findall(r"^(?:local)?rule (\w+):$", plan, flags=re.MULTILINE))


def copy_repository(folder: Path) -> Copy:
    """Copies what is, or is about to be, committed and needed for a run."""
    for source in committed_files():
        relative = source.relative_to(ROOT)
        if relative.parts[0] in PARTS:
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / relative)
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return Copy(folder, environment | {"PYTHONPATH": str(folder / "src")})


class Finished(NamedTuple):
    """A copy of the repository after a run, and what each of its processes noted of itself."""

    copy: Copy
    witnesses: list[dict[str, Any]]

    def stages(self) -> dict[str, list[dict[str, Any]]]:
        """What the processes of each stage noted, by the stage's module."""
        found: dict[str, list[dict[str, Any]]] = {}
        for witness in self.witnesses:
            command = witness["command"]
            if command[1:2] == ["-m"] and command[2].startswith("stagewise.cli."):
                found.setdefault(command[2], []).append(witness)
        return found


def watched(copy: Copy, notes: Path) -> Copy:
    """The copy with an environment in which every Python notes what it does, in `notes`.

    See support/witness/sitecustomize.py; `noted` reads the notes.
    """
    added = {
        "PYTHONPATH": f"{WITNESS}{os.pathsep}{copy.environment['PYTHONPATH']}",
        "STAGEWISE_WITNESS": str(notes),
        "STAGEWISE_WITNESS_SOURCE": str((copy.folder / "src").resolve()),
    }
    return Copy(copy.folder, copy.environment | added)


def noted(copy: Copy, notes: Path) -> Finished:
    """What the processes of `watched` have noted."""
    return Finished(copy, [json.loads(path.read_text()) for path in sorted(notes.iterdir())])


def load_imports(source: Path | None = None) -> ModuleType:
    """A fresh instance of the module, with empty caches, looking at `source`."""
    path = ROOT / "workflow" / "imports.py"
    spec = importlib.util.spec_from_file_location("imports_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if source is not None:
        module.SOURCE = source
    return module
