"""The jobs of a target, read from a dry run of Snakemake: nothing is computed or needed."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stagewise.errors import ConfigError
from stagewise.files import sha256_json

_BLOCK = re.compile(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)(?:Shell command: (.*))?", re.M)
_FIELD = re.compile(r"^    (\w+): (.*)$", re.M)


class Job(NamedTuple):
    """One job of a plan.

    Attributes:
        key: What it is, whatever the folder of results: its benchmark file without the ending.
        rule: Its rule.
        inputs: Files that it reads, code left out.
        outputs: Files that it writes.
        benchmark: File that Snakemake times it in.
        threads: Cores that it claims.
        gpus: GPUs that it asks for.
        memory_mb: Memory that it asks for, MB.
        runtime: Minutes that it asks for.
        settings: What it is told, by name.
    """

    key: str
    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str
    threads: int
    gpus: int
    memory_mb: float
    runtime: float
    settings: Mapping[str, Any]

    def identity(self) -> str:
        """A hash of what it is told: equal settings, equal work."""
        return sha256_json([self.rule, self.settings])[:16]


def dry_run(
    targets: Sequence[str], configfile: Path | None, *, remaining: bool = False
) -> list[Job]:
    """Ask Snakemake what it would run.

    Args:
        targets: Rules or files.
        configfile: Laid over config/default.yaml; None for the default run.
        remaining: Leave out what is done already.

    Raises:
        ConfigError: There is no workflow here, or Snakemake refuses the configuration.
    """
    if not Path("Snakefile").is_file():
        raise ConfigError("there is no Snakefile here: run this in the repository's folder")
    command = [sys.executable, "-m", "snakemake", "-n", "--nolock", *targets]
    command += [] if remaining else ["--forceall"]
    command += [] if configfile is None else ["--configfile", str(configfile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigError(f"Snakemake makes no plan:\n{(done.stderr + done.stdout).strip()}")
    return parse(done.stdout + done.stderr)


def parse(text: str) -> list[Job]:
    """Read the jobs that work (they have a shell command) from what a dry run prints."""
    found = {}
    for rule, body, command in _BLOCK.findall(text):
        if not command or command == "None":
            continue
        job = _job(rule, dict(_FIELD.findall(body)), command)
        found[job.key] = job
    return list(found.values())


def _job(rule: str, fields: Mapping[str, str], command: str) -> Job:
    resources = dict(part.split("=", 1) for part in fields.get("resources", "").split(", "))
    outputs, benchmark = _files(fields.get("output", "")), fields.get("benchmark", "")
    _, found, name = benchmark.rpartition("benchmarks/")
    return Job(
        key=name.removesuffix(".tsv") if found else outputs[0],
        rule=rule,
        inputs=tuple(one for one in _files(fields.get("input", "")) if not one.startswith("src/")),
        outputs=outputs,
        benchmark=benchmark,
        threads=int(fields.get("threads", "1")),
        gpus=int(resources.get("gpu", "0")),
        memory_mb=float(resources.get("mem_mb", "nan")),
        runtime=float(resources.get("runtime", "nan")),
        settings=_settings(command),
    )


def _files(text: str) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def _settings(command: str) -> Mapping[str, Any]:
    words = shlex.split(command)
    return json.loads(words[words.index("--settings") + 1]) if "--settings" in words else {}
