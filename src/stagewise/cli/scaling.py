"""Stage: one measurement of the scaling study, a process of its own."""

import gc
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stagewise.baselines.ekfac_language import (
    ALL_BLOCKS,
    FIRST_BLOCK,
    plain_pass,
    sequence_influence,
)
from stagewise.baselines.factors import FactorSettings
from stagewise.cli.stage import stage
from stagewise.config.scaling import ScalingJob
from stagewise.files import write_json
from stagewise.models.neox import build, language_loss
from stagewise.sampling.cost import Chosen, chain_cost
from stagewise.seeds import generator, seed_sequence


def scaling(settings: ScalingJob, out: Path) -> None:
    """Measures one method at one size on the processor: seconds of its parts and peak memory.

    On the processor also where there is a GPU, for which there is ``bench/gpu.py``: two records of
    one name on different devices would not be told apart.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".scaling-") as folder:
        found = measure(settings, torch.device("cpu"), Path(folder))
    write_json(out, found)


def measure(job: ScalingJob, device: torch.device, folder: Path) -> dict[str, Any]:
    """Return what one method costs at one size: seconds of its parts, and peak memory.

    The model has random weights and reads random tokens: what is measured does not depend on them.

    Args:
        job: Method, shape, protocol.
        device: Where; a GPU's peak memory is counted anew, a process's is its whole life's.
        folder: For a scratch folder of factors.
    """
    _forget(device)
    shape = _model(job, torch.device("meta"))
    found = {
        "method": job.method,
        "size": job.size,
        "device": device_name(device),
        "whole": job.whole,
        "train": job.protocol.train,
        "blocks": job.shape.layers,
        "parameters": sum(one.numel() for one in shape.parameters()),
        # Weight matrices of the blocks, which alone EK-FAC tracks.
        "tracked": sum(
            one.numel()
            for name, one in shape.named_parameters()
            if ".layers." in name and one.ndim == 2
        ),
    }
    method = _chains if job.method == "bif" else _factors
    found |= method(job, device, folder)
    found["memory_mb"] = peak_mb(device)
    return found


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def peak_mb(device: torch.device) -> float:
    """Return the most memory so far, MB: of tensors on a GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _chains(job: ScalingJob, device: torch.device, folder: Path) -> dict[str, Any]:
    protocol, model, tokens = job.protocol, _model(job, device), _tokens(job, device)
    loss = language_loss(model, tokens[: protocol.train], at_once=protocol.at_once)
    asked = tokens[protocol.train :]
    queries = loss.with_data(asked[:, :-1], asked[:, 1:])
    del model  # the loss has its own
    chosen = Chosen(
        protocol.n_beta,
        protocol.localization,
        protocol.step_size,
        protocol.batch,
        protocol.chains if job.whole else 1,
    )
    steps, draws = job.measure.steps, job.measure.draws
    if job.whole:
        steps, draws = protocol.burn_in, protocol.draws
    cost = chain_cost(loss, loss.centre, queries, chosen, steps=steps, draws=draws, seed=job.seed)
    return cost._asdict()


def _factors(job: ScalingJob, device: torch.device, folder: Path) -> dict[str, Any]:
    protocol, model, tokens = job.protocol, _model(job, device), _tokens(job, device)
    train, asked = tokens[: protocol.train], tokens[protocol.train :]
    plain_pass(model, train[: protocol.at_once], protocol.at_once)  # warms up
    found = {"plain": plain_pass(model, train, protocol.at_once)}
    found["plain_mb"] = peak_mb(tokens.device)
    marks: list[tuple[str, float]] = []

    def clock(phase: str) -> None:
        if tokens.is_cuda:
            torch.cuda.synchronize()
        marks.append((phase, time.perf_counter()))

    settings = FactorSettings(
        layers=ALL_BLOCKS if job.whole else FIRST_BLOCK,
        factor_batch=protocol.at_once,
        score_batch=protocol.at_once,
        query_batch=protocol.query_batch,
    )
    clock("begin")
    sequence_influence(
        model,
        train,
        asked if job.whole else asked[: protocol.query_batch],
        damping=None,
        folder=folder,
        settings=settings,
        consume=True,
        clock=clock,
    )
    for (_, before), (phase, now) in zip(marks, marks[1:], strict=False):
        found[phase] = now - before
    return found | {"all": marks[-1][1] - marks[0][1]}


def _model(job: ScalingJob, device: torch.device) -> nn.Module:
    shape = job.shape
    return build(
        shape.vocabulary,
        max(job.protocol.length, 8),
        layers=shape.layers,
        width=shape.width,
        heads=shape.heads,
        expansion=4,
        rotary=0.25,
        parallel_residual=True,
        seed=int(seed_sequence(job.seed, "scaling", "init").generate_state(1)[0]),
        device=device,
    )


def _tokens(job: ScalingJob, device: torch.device) -> Tensor:
    """Return N + Q sequences of random tokens, one more than are predicted in each."""
    protocol = job.protocol
    shape = (protocol.train + protocol.queries, protocol.length + 1)
    drawn = generator(job.seed, "scaling", "tokens").integers(0, job.shape.vocabulary, shape)
    return torch.from_numpy(drawn.astype(np.int64)).to(device)


def _forget(device: torch.device) -> None:
    """Free what an earlier measurement left, and count a GPU's peak memory anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if _has_cpuinfo() else ():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _has_cpuinfo() -> bool:
    return Path("/proc/cpuinfo").is_file()


main = stage(scaling)

if __name__ == "__main__":
    sys.exit(main())
