"""One measurement in a process of its own: ``python bench/measure.py '<job as JSON>' out.json``.

The process warms up, runs N draws, then 2 N. The marginal cost is the slope between the two, the
total is everything until the N draws are there, from the start of the process.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch


def main(text: str, out: str) -> None:
    """Measure what the job names and write it."""
    job = json.loads(text)
    torch.set_num_threads(job["threads"])
    if job["kind"] == "peak":
        from peak import measure

        result = measure(job)
    else:
        result = timed(job)
    result["maxrss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    temporary = Path(out).with_suffix(".part")
    temporary.write_text(json.dumps(result))
    temporary.rename(out)


def timed(job: dict) -> dict:
    """Return times and mean excess losses, or the deterministic step."""
    from problems import make
    from samplers import make as make_sampler

    problem, sampler = make(job), make_sampler(job["sampler"], job["workload"])
    if job["kind"] == "step":
        moved = sampler(problem, 0, 0)
        centre = torch.stack(
            [torch.cat([s[k].flatten() for k, _ in problem.model.named_parameters()])
             for s in problem.checkpoints]
        ).numpy()  # fmt: skip
        change = (moved - centre)[:: max(1, len(moved) // 4)]
        return {"change": change[:, :: max(1, change.shape[1] // 2000)].tolist()}
    draws, seed = job["draws"], job["seed"]
    if job.get("warm", True):
        sampler(problem._replace(burn_in=0), 1, seed + 2)
    begun = time.perf_counter()
    sampler(problem, draws, seed + 1)
    first, ready = time.perf_counter() - begun, time.time()
    begun = time.perf_counter()
    means = sampler(problem, 2 * draws, seed)
    second = time.perf_counter() - begun
    replicas = draws * problem.chains * len(problem.checkpoints)
    return {
        "marginal": (second - first) / replicas,
        "first": first,
        "second": second,
        "ready": ready,
        "means": means.reshape(-1, problem.chains).tolist(),  # (checkpoint, chain)
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
