"""Arithmetic of the speed bench: ratios of paired times, and whether outputs agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from stagewise.errors import SchemaError
from stagewise.storage.metrics import number

#: One round of one sampler, as ``bench/measure.py`` writes it.
Round = Mapping[str, Any]


def ratio_numbers(
    key: str, ours: Sequence[float], theirs: Sequence[float], source: str
) -> dict[str, dict[str, Any]]:
    """Return the median of the paired ratios theirs/ours, and their quartiles.

    Above 1 this project is faster. Paired means: of the same round, minutes apart at most, so that
    a machine that is slow for a while slows both. A round in which noise made a slope negative says
    nothing and is left out; ``n`` counts the others.

    Raises:
        SchemaError: There are not as many times of both, or half of the rounds or more say nothing.
    """
    one, other = np.asarray(ours, float), np.asarray(theirs, float)
    known = (one > 0) & (other > 0) if one.shape == other.shape else np.zeros(0, bool)
    if 2 * known.sum() <= len(known):
        raise SchemaError(
            f"{key}: times {list(ours)} and {list(theirs)}; as many of both and most above 0 are "
            "needed: raise the workload's draws, so that the slope stands out of the noise"
        )
    ratios = other[known] / one[known]
    low, middle, high = (float(value) for value in np.quantile(ratios, [0.25, 0.5, 0.75]))
    values = {key: middle, f"{key}_low": low, f"{key}_high": high}
    return {
        name: number(value, n=len(ratios), unit="", source=source) for name, value in values.items()
    }


def check_step(
    name: str,
    ours: Float[np.ndarray, "checkpoint parameter"],
    theirs: Float[np.ndarray, "checkpoint parameter"],
    most: float,
) -> float:
    """Return how much one deterministic step differs, as a share of its length.

    Raises:
        SchemaError: More than ``most``: then the two don't descend the same potential.
    """
    found = float(np.linalg.norm(theirs - ours) / np.linalg.norm(ours))
    if not found <= most:
        raise SchemaError(
            f"{name}: one step on the same batch without noise differs by {found:.2e} of its "
            f"length, more than {most:.0e}; it samples another potential, and is not timed"
        )
    return found


def check_law(name: str, ours: Sequence[float], theirs: Sequence[float], most: float) -> float:
    """Return by how many standard errors the mean excess losses of two samplers differ.

    Args:
        name: Of the other sampler.
        ours: Mean excess loss of each independent chain.
        theirs: The same of the other sampler.
        most: Most standard errors.

    Raises:
        SchemaError: More than ``most``: then the two don't sample the same law.
    """
    one, other = np.asarray(ours, float), np.asarray(theirs, float)
    variance = one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)
    found = float(abs(one.mean() - other.mean()) / np.sqrt(variance))
    if not found <= most:
        raise SchemaError(
            f"{name}: mean excess loss {other.mean():.4g} against {one.mean():.4g}, "
            f"{found:.1f} standard errors apart, more than {most:g}; it samples another law, and "
            "its times are not quoted"
        )
    return found


def shared_means(ours: Sequence[Round], theirs: Sequence[Round]) -> list[list[float]]:
    """Return each chain's mean excess loss over the checkpoints that both have sampled.

    Samplers that run one chain after another are given the first few checkpoints only.
    """
    shared = min(len(one["means"]) for some in (ours, theirs) for one in some)
    return [
        [float(mean) for one in some for mean in np.mean(one["means"][:shared], axis=0)]
        for some in (ours, theirs)
    ]


def compare(
    workload: str,
    rounds: Mapping[str, Sequence[Round]],
    steps: Mapping[str, Float[np.ndarray, "checkpoint parameter"]],
    limits: tuple[float, float],
    source: str = "bench",
) -> dict[str, dict[str, Any]]:
    """Return the numbers of one workload, once outputs have been found to agree.

    Args:
        workload: Its name.
        rounds: What was measured, by sampler and round; "stagewise" among them.
        steps: The deterministic step of each sampler.
        limits: Most difference of a step as a share of it, most standard errors.
        source: Stage that measured.

    Raises:
        SchemaError: Outputs don't agree, or a time is not positive.
    """
    prefix, numbers = f"bench.{workload}", {}
    ours = rounds["stagewise"]
    for name, found in rounds.items():
        per_draw = np.median([one["marginal"] for one in found]) * 1e3
        numbers[f"{prefix}.{name}_ms"] = number(
            float(per_draw), n=len(found), unit="ms per chain-draw", source=source
        )
        if name == "stagewise":
            continue
        numbers[f"{prefix}.{name}_step_difference"] = number(
            check_step(name, steps["stagewise"], steps[name], limits[0]), unit="", source=source
        )
        means = shared_means(ours, found)
        numbers[f"{prefix}.{name}_law_difference"] = number(
            check_law(name, *means, limits[1]),
            n=len(means[1]),
            unit="standard errors",
            source=source,
        )
        for key, field in ((f"vs_{name}", "marginal"), (f"vs_{name}_total", "total")):
            times = [[one[field] for one in some] for some in (ours, found)]
            numbers |= ratio_numbers(f"{prefix}.{key}", *times, source)
    return numbers
