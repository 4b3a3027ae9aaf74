"""How long the chains of a run must be, from what one pilot showed and what steps cost."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float64

from stagewise.calibration.pilot import Cost, Pilot
from stagewise.errors import ConfigError
from stagewise.sampling.records import Schedule

#: Draws per chain that are taken whatever they cost: with fewer nothing can be diagnosed.
FEWEST_DRAWS = 8


def plan_length(
    pilot: Pilot,
    schedule: Schedule,
    cost: Cost,
    clock: Cost,
    *,
    pilot_chains: int,
    chains: int,
    reliability: float,
    seconds: float | None,
) -> dict[str, Any]:
    """Return spacing and draws of a run, and what to expect of them.

    Products of losses are taken for exponentially correlated: draws s steps apart average as well
    as 1/τ(s) as many independent ones, τ(s) = (1 + ρ)/(1 - ρ) = coth(s/m), ρ = exp(-2 s/m), m the
    memory in steps. Among spacings up to m the one with the least cost of an independent draw,
    (s · step + draw) τ(s), is taken. A query's power p is proportional to the independent draws.

    Args:
        pilot: A pilot with the chosen settings.
        schedule: Its schedule, whose burn-in the run keeps.
        cost: Of a step and of a draw, in any unit: what the spacing is chosen by.
        clock: The same in seconds, of all chains of the run.
        pilot_chains: Chains of the pilot.
        chains: Chains of the run.
        reliability: Wanted mean of sqrt(p/(1 + p)) over the queries that the pilot saw a signal of.
        seconds: Most seconds of the run, 8 draws at least; None sets no limit.

    Returns:
        ``draws`` and ``spacing``; ``seconds`` with the limit, ``cost_to_goal`` without it;
        ``reliability`` expected of queries with a signal; ``memory_steps``.

    Raises:
        ConfigError: No query has a signal above its null.
    """
    memory = max(pilot.time, 1.01) * schedule.spacing
    spacings = np.arange(1, max(2, math.ceil(memory)) + 1)
    times = 1.0 / np.tanh(spacings / memory)
    spacing = int(spacings[np.argmin((spacings * cost.step + cost.draw) * times)])
    slow = float(times[spacing - 1])
    independent = schedule.draws * pilot_chains / max(pilot.time, 1.0)
    power = pilot.power / independent  # of one independent draw
    draws = math.ceil(draws_for(reliability, power) * slow / chains)
    to_goal = schedule.burn_in * cost.step + draws * (spacing * cost.step + cost.draw)
    one, burn_in = spacing * clock.step + clock.draw, schedule.burn_in * clock.step
    if seconds is not None:
        draws = max(min(draws, int((seconds - burn_in) / one)), FEWEST_DRAWS)
    return {
        "draws": draws,
        "spacing": spacing,
        "seconds": burn_in + draws * one,
        "cost_to_goal": to_goal,
        "reliability": reliability_of(power[power > 0] * draws * chains / slow),
        "memory_steps": memory,
    }


def reliability_of(power: Float64[np.ndarray, " query"]) -> float:
    """Return the mean over queries of sqrt(p/(1 + p)), the correlation of estimate and limit."""
    return float(np.sqrt(power / (1.0 + power)).mean())


def draws_for(reliability: float, power: Float64[np.ndarray, " query"]) -> float:
    """Return how many independent draws reach a reliability, queries without any signal aside.

    Args:
        reliability: Between 0 and 1.
        power: p of one independent draw.

    Raises:
        ConfigError: No query has any.
    """
    seen = power[power > 0]
    if not len(seen):
        raise ConfigError(
            "no query's influences rise above their null in the pilot; raise pilot_chains, or "
            "raise the damping"
        )
    low, high = 1.0, 1e12
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if reliability_of(middle * seen) < reliability else (low, middle)
    return high
