"""The share of the machine's matrix-product rate that a draw of a large model reaches."""

import statistics
import time
from collections.abc import Callable

import torch
from problems import make
from samplers import flat_checkpoints, our_loss
from torch.utils.flop_counter import FlopCounterMode

SIZES = (512, 1024, 2048)


def measure(job: dict) -> dict:
    """Time draws (gradient and record of all chains) and matrix products in turn."""
    problem = make(job)
    loss = our_loss(problem, job["workload"])
    w = flat_checkpoints(problem)[:, None].repeat(1, problem.chains, 1)
    batch = torch.randint(len(problem.targets), (problem.chains, problem.batch))
    recorded = torch.arange(problem.recorded)

    def draw() -> None:
        loss.mean_and_gradient(w, batch)
        loss.losses(w, recorded)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the counter sees this thread alone
    with FlopCounterMode(display=False) as counter:
        draw()
    profile = _profile(lambda: loss.mean_and_gradient(w[:, :1], batch[:1]))
    torch.set_num_threads(threads)
    draw()
    rates = {size: [] for size in SIZES}
    seconds = []
    for _ in range(job["draws"]):
        for size in SIZES:
            rates[size].append(_rate(size))
        begun = time.perf_counter()
        draw()
        seconds.append(time.perf_counter() - begun)
    best = max(rates.values(), key=statistics.median)
    # Against the rate a moment before: a machine that is slow for a while slows both.
    pairs = zip(seconds, best, strict=True)
    fractions = [counter.get_total_flops() / spent / rate for spent, rate in pairs]
    return {
        "fractions": fractions,
        "gflops": counter.get_total_flops() / 1e9,
        "peak_gflops": statistics.median(best) / 1e9,
        "seconds": statistics.median(seconds),
        "profile": profile,
    }


def _rate(size: int) -> float:
    """Return multiplications and additions a second of a square product."""
    a, b, c = (torch.ones(size, size) for _ in range(3))
    torch.mm(a, b, out=c)
    repeats = max(1, 2**33 // (2 * size**3))
    begun = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, b, out=c)
    return repeats * 2 * size**3 / (time.perf_counter() - begun)


def _profile(work: Callable[[], object]) -> dict[str, float]:
    """Return the share of time of each kind of operation, largest first."""
    work()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        work()
    found = {one.key: one.self_cpu_time_total for one in profiler.key_averages()}
    total = sum(found.values())
    top = sorted(found.items(), key=lambda item: -item[1])[:8]
    return {name: spent / total for name, spent in top}
