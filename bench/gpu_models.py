"""The paper's models on a GPU, at the paper's settings and with random weights."""

from pathlib import Path
from typing import Any

import torch
import yaml
from gpu_timing import timed

from stagewise.cli.scaling import peak_mb
from stagewise.models.googlenet import build as googlenet
from stagewise.models.googlenet import image_loss
from stagewise.models.neox import build, language_loss
from stagewise.sampling.kernels import sgld
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams

ROOT = Path(__file__).resolve().parents[1]


def pythia(device: torch.device, tiny: bool, tf32: bool) -> dict[str, float]:
    """One job of the paper's configuration: a block of chains about one checkpoint, whole.

    With ``tf32`` a tenth of it, for the rate alone.
    """
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    chosen = paper["language"]["runs"]["pythia_14m"]
    counts, source = chosen["sampling"], chosen["source"]
    train, length, chains, vocabulary = source["train"], source["length"], 4, 50304
    share = 10 if tf32 else 1
    burn_in, draws = counts["burn_in"] // share, counts["draws"] // share
    shape = {"layers": 6, "width": 128, "heads": 4}
    if tiny:
        train, length, chains, vocabulary, burn_in, draws = 160, 8, 2, 64, 1, 1
        shape = {"layers": 1, "width": 8, "heads": 2}
    reset(device)
    torch.backends.cuda.matmul.allow_tf32 = tf32
    model = build(vocabulary, length, **shape, expansion=4, rotary=0.25, parallel_residual=True,
                  seed=0, device=device)  # fmt: skip
    tokens = torch.randint(0, vocabulary, (train, length + 1), device=device)
    loss = language_loss(model, tokens)
    streams = NoiseStreams(0, "gpu", chains, loss.parameter_count, batch_size=counts["batch_size"],
                           sample_count=train, device=device)  # fmt: skip
    potential = Potential(loss, loss.centre, counts["n_beta"], counts["localization"])
    schedule = Schedule(burn_in, draws, counts["spacing"])
    results: list[Any] = []
    seconds = timed(
        device,
        lambda: results.append(
            run(
                sgld.Kernel(counts["step_size"]),
                potential,
                streams,
                schedule,
                samples=torch.arange(counts["recorded"], device=device),
            )  # fmt: skip
        ),
    )
    torch.backends.cuda.matmul.allow_tf32 = False
    return {
        "seconds": seconds,
        "parameters": loss.parameter_count,
        "chains": chains,
        "steps": schedule.steps,
        "draws": schedule.draws,
        "chain_steps_per_second": chains * schedule.steps / seconds,
        "diverged": int(results[0].status.sum()),
        "memory_mb": peak_mb(device),
    }


def images(device: torch.device, tiny: bool) -> dict[str, float]:
    """Images a second of gradients and of recorded losses, random images and weights."""
    count, size, batch = (8, 32, 4) if tiny else (512, 224, 64)
    reset(device)
    net = googlenet(1000).eval().to(device)
    loss = image_loss(
        net,
        torch.randn(count, 3, size, size, device=device),
        torch.arange(count, device=device) % 1000,
    )
    found: dict[str, float] = {}
    w = loss.centre[:, None].repeat(1, 2, 1)
    chosen = torch.arange(batch, device=device).expand(2, -1)
    for name, allowed in (("", False), ("_tf32", True)):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        loss.mean_and_gradient(w, chosen)
        loss.losses(w)
        found[f"gradient_images_per_second{name}"] = (
            5
            * 2
            * batch
            / timed(device, lambda: [loss.mean_and_gradient(w, chosen) for _ in "12345"])
        )
        found[f"recorded_images_per_second{name}"] = (
            2 * count / timed(device, lambda: loss.losses(w))
        )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return found | {"memory_mb": peak_mb(device), "parameters": loss.parameter_count}


def reset(device: torch.device) -> None:
    """Count peak memory anew."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
