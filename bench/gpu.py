"""What a GPU does with this project: ``python bench/gpu.py --out gpu.json``, some eight minutes.

Parts, each written to the file as soon as it is measured, so that a run that is cut off loses
only what is missing: the tests that need CUDA; the scaling study of BIF and EK-FAC; chains on the
bench's workloads against plain ``torch.func.vmap`` and other samplers; a checkpoint of Pythia-14M's
and one of GoogLeNet's shape at the paper's settings, with random weights. ``--device cpu --tiny``
runs every part at a toy size on a processor.

Float32 throughout; TF32 is off unless an entry says so.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from gpu_timing import timed  # noqa: E402

#: Tests that need CUDA, or whose stages use a GPU where there is one.
TESTS = (
    "tests/unit/sampling/test_precision.py",
    "tests/unit/sampling/test_philox.py",
    "tests/unit/sampling/test_cuda.py",
    "tests/unit/test_language_train.py",
    "tests/unit/baselines/test_ekfac_language.py",
)
#: Seconds that the tests may take.
TEST_SECONDS = 150


class Report:
    """Everything that was measured, on disk at any time."""

    def __init__(self, out: Path, seconds: float) -> None:
        """Start the clock."""
        self._out, self._begun, self._seconds = out, time.monotonic(), seconds
        self.found: dict[str, Any] = {"errors": {}}

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._seconds - (time.monotonic() - self._begun)

    def add(self, part: str, name: str, work: Callable[[], Any], least: float = 10.0) -> None:
        """Do the work if ``least`` seconds are left, and keep what it returns or why it didn't."""
        if self.left() < least:
            self._keep("errors", f"{part}/{name}", f"{self.left():.0f} s left")
            return
        begun = time.monotonic()
        try:
            self._keep(part, name, work())
        except torch.OutOfMemoryError as error:
            self._keep("errors", f"{part}/{name}", f"out of memory: {error}"[:500])
        except Exception:
            self._keep("errors", f"{part}/{name}", traceback.format_exc()[-2000:])
        spent = time.monotonic() - begun
        shown = self.found.get(part, {}).get(name, self.found["errors"].get(f"{part}/{name}"))
        left = f"[{self.left():5.0f} s left]"
        sys.stdout.write(f"{left} {part}/{name} {spent:.1f} s: {str(shown)[-300:]}\n")
        sys.stdout.flush()

    def _keep(self, part: str, name: str, value: Any) -> None:
        self.found.setdefault(part, {})[name] = value
        temporary = self._out.with_suffix(".part")
        temporary.write_text(json.dumps(self.found, indent=1))
        temporary.replace(self._out)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, default=530.0)
    parser.add_argument("--parts", default="environment,tests,scaling,throughput,models")
    given = parser.parse_args()
    device, report = torch.device(given.device), Report(given.out, given.seconds)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    every = {
        "environment": environment,
        "tests": tests,
        "scaling": scaling,
        "throughput": throughput,
        "models": models,
    }
    for part in given.parts.split(","):
        every[part](report, device, given.tiny)
    sys.stdout.write(f"errors: {sorted(report.found['errors'])}\n")


# --- the machine -------------------------------------------------------------------------------


def environment(report: Report, device: torch.device, tiny: bool) -> None:
    """The machine, its rate of matrix products, and how fast it makes noise."""
    from stagewise.cli.scaling import device_name

    report.add(
        "environment",
        "machine",
        lambda: {
            "device": device_name(device),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        },
    )
    report.add("environment", "products", lambda: products(device, 256 if tiny else 8192))
    report.add("environment", "noise", lambda: noise(device, 10**5 if tiny else 10**8))


def products(device: torch.device, size: int) -> dict[str, float]:
    """Return the rate of square products, FLOP/s, in float32 and with TF32."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    found = {}
    for name, allowed in (("float32", False), ("tf32", True)):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.mm(a, b)
        seconds = timed(device, lambda: [torch.mm(a, b) for _ in range(5)]) / 5
        found[name] = 2 * size**3 / seconds
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def noise(device: torch.device, count: int) -> dict[str, Any]:
    """Return seconds of a vector of noise: made there, as one kernel and as many, and carried."""
    from stagewise.sampling import philox
    from stagewise.sampling.streams import NoiseStreams

    found: dict[str, Any] = {"numbers": count}
    usual = philox.FUSED_FROM
    for name, least in (("rounds_apart", 2**62), ("one_kernel", usual)):
        philox.FUSED_FROM = least
        streams = NoiseStreams(0, "gpu", 1, count, device=device)
        try:
            found[f"{name}_first"] = timed(device, lambda s=streams: s.normal(0))
            found[name] = timed(device, lambda s=streams: s.normal(1))
        except Exception as error:
            found[f"{name}_error"] = str(error)[-800:]
            usual = 2**62  # the rest of this run does without
    philox.FUSED_FROM = usual
    carried = NoiseStreams(0, "gpu", 1, count // 10)
    found["carried"] = 10 * timed(device, lambda: carried.normal(1).to(device))
    return found


# --- tests -------------------------------------------------------------------------------------


def tests(report: Report, device: torch.device, tiny: bool) -> None:
    """Run the tests that need CUDA in a process of their own."""

    def run() -> dict[str, Any]:
        chosen = TESTS[1:2] if tiny else TESTS
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfEs"]
        command += ["--durations=5", *(one for one in chosen if (HERE.parent / one).exists())]
        if not tiny:
            command += ["-n", "6", "--dist", "load"]
        done = subprocess.run(
            command,
            cwd=HERE.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=TEST_SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )
        return {"status": done.returncode, "output": (done.stdout + done.stderr)[-6000:]}

    report.add("tests", "pytest", run)


# --- the scaling study -------------------------------------------------------------------------


def scaling(report: Report, device: torch.device, tiny: bool) -> None:
    """BIF and EK-FAC at every size, from small to large, then against the number of sequences."""
    from stagewise.cli.scaling import measure
    from stagewise.config.base import parse
    from stagewise.config.scaling import ScalingSettings, jobs

    names = ("default", "smoke") if tiny else ("default", "paper")
    chosen: dict[str, Any] = {}
    for name in names:
        layer = yaml.safe_load((HERE.parent / f"config/{name}.yaml").read_text())
        chosen = laid_over(chosen, layer.get("scaling", {}))
    settings = parse(ScalingSettings, chosen)
    with tempfile.TemporaryDirectory() as folder:
        for name, job in jobs(settings, 0).items():
            report.add(
                "scaling",
                name,
                lambda job=job: measure(job, device, Path(folder)),
                least=45.0 if job.shape.layers > 24 else 15.0,
            )


def laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return one mapping laid over another, as Snakemake lays files of settings."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = laid_over(merged[key], value) if both else value
    return merged


# --- chains on the bench's workloads -----------------------------------------------------------

#: What is left of the bench's settings on a GPU: enough chains to fill it, few enough draws.
WORK: dict[str, dict[str, Any]] = {
    "toy": {"chains": 64, "draws": 20, "burn_in": 20},
    "mlp": {"chains": 64, "draws": 10, "burn_in": 20},
    "mlp_512": {"chains": 512, "draws": 10, "burn_in": 20},
    "mlp_4096": {"chains": 4096, "draws": 5, "burn_in": 10},
    "neox": {"draws": 10, "burn_in": 5},
    "googlenet": {"draws": 4, "burn_in": 4},
}


def throughput(report: Report, device: torch.device, tiny: bool) -> None:
    """Chain-steps a second, draws included, of every sampler in turn."""
    shops = yaml.safe_load((HERE.parent / "config/default.yaml").read_text())["bench"]["workloads"]
    for name, change in WORK.items():
        workload = name.partition("_")[0]
        job = {"checkpoints": 1, "hidden": 0, "length": 1, "samples": 1, **shops[workload]}
        job |= {"workload": workload, **change}
        if tiny:
            job |= {"chains": 2, "draws": 1, "burn_in": 1, "spacing": 1, "checkpoints": 1}
            job |= {"samples": 8, "recorded": 8, "batch": job["batch"] and 4}
        for sampler in ("stagewise", "vmap", "posteriors", "devinterp"):
            if sampler == "devinterp" and job["chains"] > 64:
                continue  # one chain after another: no faster than with few
            report.add(
                "throughput",
                f"{name}/{sampler}",
                lambda job=job, sampler=sampler: rate(job, sampler, device),
                least=60.0,
            )


def rate(job: dict[str, Any], sampler: str, device: torch.device) -> dict[str, float]:
    """Return chain-steps a second of a second, equal run, and what the outputs are checked by."""
    import problems
    import samplers

    job = dict(job)
    if sampler == "devinterp":  # one after another: fewer chains cost as much each
        job |= {"chains": min(2, job["chains"]), "checkpoints": min(2, job["checkpoints"])}
    problem = problems.make(job)
    moved = [{k: v.to(device) for k, v in one.items()} for one in problem.checkpoints]
    problem = problem._replace(
        model=problem.model.to(device),
        inputs=problem.inputs.to(device),
        targets=problem.targets.to(device),
        checkpoints=moved,
    )
    run = samplers.make(sampler, job["workload"])
    run(problem, 1, 1)
    means: list[Any] = []
    seconds = timed(device, lambda: means.append(run(problem, job["draws"], 0)))
    steps = job["burn_in"] + job["draws"] * job["spacing"]
    chains = job["chains"] * len(problem.checkpoints)
    return {
        "chain_steps_per_second": chains * steps / seconds,
        "seconds": seconds,
        "chains": chains,
        "mean_excess": float(means[0].mean()),
        "mean_excess_error": float(means[0].std() / math.sqrt(len(means[0]))),
    }


# --- the paper's models ------------------------------------------------------------------------


def models(report: Report, device: torch.device, tiny: bool) -> None:
    """Pythia-14M's shape at the paper's counts, and GoogLeNet of 1,000 classes at 224 pixels."""
    from gpu_models import images, pythia

    for tf32 in (False, True):
        name = "pythia_14m_tf32" if tf32 else "pythia_14m"
        report.add("models", name, lambda tf32=tf32: pythia(device, tiny, tf32), least=30.0)
    report.add("models", "googlenet_224", lambda: images(device, tiny), least=20.0)


if __name__ == "__main__":
    main()
