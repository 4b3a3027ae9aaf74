"""Choose nβ, γ, ε, friction and the length of chains by measurement.

1. *Curvature* of L_n at the checkpoint, by Lanczos: λ_max bounds the step, λ_min the locality.
2. *Damping* δ = γ/nβ, given, or the least at which the law is local (δ ≥ 2|λ_min|) and the loss
   holds at most a tenth as many directions as there are samples.
3. *Temperature*: nβ climbs by factors of ten at that damping, so that the neighbourhood narrows and
   nothing else changes. All rungs use the same random numbers: where the law is Gaussian their
   chains are scaled copies, and influences agree however short the runs. The widest neighbourhood
   is taken whose influences correlate with the next one's as declared. The signal over the
   derangement null is reported and not maximised: it is largest where all losses rise together.
4. *Step*: from half of what is stable, halved until halving it once more moves the learning
   coefficient and the trace of the loss covariance by no more than the declared bias allows.
   Friction is critical for the flattest direction, f = 1 - exp(-2 h sqrt(γ)), h = sqrt(ε/2).
5. *Length*: a query's squared signal over its null, p, grows with the draws. Draws are those for
   which the correlation of estimate and limit, sqrt(p/(1 + p)) in the mean over queries, is as
   declared, or what the seconds allow. Spacing weighs what a draw costs against what it adds.

Where several batch sizes are offered, 4 and 5 are done for each and the cheapest run is taken, by
the number of passes of a sample through the network. Seconds are measured only to keep a limit and
to be reported: without one, equal seeds choose alike on every machine.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from stagewise.calibration.curvature import Curvature, measure
from stagewise.calibration.length import plan_length
from stagewise.calibration.pilot import Pilot, Watch, acceptance, fly, passes, price
from stagewise.calibration.settings import Calibration
from stagewise.errors import ConfigError, DivergenceError
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels.by_name import WITH_FRICTION, Name, make
from stagewise.sampling.potential import Kind, Potential, number
from stagewise.sampling.records import Schedule

#: ε times the largest curvature of U that is still stable; underdamped's lies between 4 and 8.
STABLE = {"sgld": 4.0, "underdamped": 4.0, "baoab": 8.0}
RUNGS, FACTOR, MOST_HALVINGS = 5, 10.0, 7
PILOT_DRAWS = 24


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a calibrated run should reach.

    Attributes:
        damping: δ = γ/nβ, nats per squared unit of weight; None chooses by rule.
        locality: Least correlation of influences with those of a law ten times as narrow.
        bias: Most relative bias of the loss covariance by discretisation and minibatch noise.
        reliability: Expected correlation of a query's influences with their limit of many draws.
        seconds: Most seconds of the run that is planned, but for 8 draws a chain that it always
            gets; None sets no limit.
        chains: Chains of that run.
        pilot_chains: Chains of the pilots, at least 8.
    """

    damping: float | None = None
    locality: float = 0.95
    bias: float = 0.05
    reliability: float = 0.98
    seconds: float | None = None
    chains: int = 64
    pilot_chains: int = 16

    def __post_init__(self) -> None:
        """Check the goals."""
        for name in ("locality", "bias", "reliability"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("damping", "seconds"):
            if getattr(self, name) is not None:
                number(getattr(self, name), name)
        if min(self.chains, self.pilot_chains) < 8:
            raise ConfigError(
                f"chains {self.chains}, pilot_chains {self.pilot_chains}; at least 8 of each, so "
                "that losses can be centred across chains"
            )


class _Setting(NamedTuple):
    """One point of the search."""

    n_beta: float
    localization: float
    step_size: float
    batch_size: int | None


def calibrate(
    loss: PerSampleLoss,
    centre: Float[Tensor, "checkpoint parameter"],
    *,
    queries: PerSampleLoss | None = None,
    kind: Kind = "recentred",
    kernel: Name = "baoab",
    batch_sizes: Sequence[int | None] = (None,),
    goal: Goal | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Choose the settings of a sampling run at one checkpoint.

    Args:
        loss: Per-sample losses of the training samples.
        centre: w*, one checkpoint.
        queries: Losses of further samples, whose influences count; None takes the samples' own.
        kind: The potential; "recentred" is another law than "plain" off a minimum.
        kernel: "baoab", "underdamped" or "sgld".
        batch_sizes: Batch sizes to choose from; None is the full gradient. Minibatch gradients
            use control variates.
        goal: What the run should reach.
        seed: Root seed of the pilots; a run made with other streams owes them nothing.
        say: Called with a line of text at each stage.

    Returns:
        Settings, evidence and the table of what was tried.

    Raises:
        ConfigError: An unknown kernel or potential, a damping that the checkpoint's curvature
            rules out, no batch sizes or one below 1, more than one checkpoint, or no query whose
            influences rise above their null.
        DivergenceError: Chains diverge at every step tried.
    """
    search = _Search(loss, centre, queries, kind, kernel, goal or Goal(), seed, say)
    _check_batches(batch_sizes)
    curvature = measure(loss, centre, seed=seed)
    damping = _damping(curvature, search.goal, loss.sample_count)
    say(f"curvature {curvature.smallest:.3g} to {curvature.largest:.3g}, damping {damping:.3g}")
    n_beta, agreement = search.temperature(curvature, damping, batch_sizes[0])
    plans = [search.plan(curvature, n_beta, damping, size) for size in batch_sizes]
    best = min(plans, key=lambda plan: plan[1]["cost_to_goal"])
    settings, evidence = best
    evidence |= {
        "curvature_largest": curvature.largest,
        "curvature_smallest": curvature.smallest,
        "effective_dimension": curvature.effective_dimension(damping),
        "damping": damping,
        "locality": agreement,
        "local": damping > -curvature.smallest,
    }
    return Calibration(**settings, evidence=evidence, table=tuple(search.table))


def _check_batches(sizes: Sequence[int | None]) -> None:
    if not sizes:
        raise ConfigError("batch_sizes is empty; offer at least one, None for full gradients")
    if any(size is not None and size < 1 for size in sizes):
        raise ConfigError(
            f"batch_sizes {list(sizes)}; each must be at least 1, or None for full gradients"
        )


def _damping(curvature: Curvature, goal: Goal, samples: int) -> float:
    """Return δ: the goal's, or the least that is local and leaves n/10 directions to the loss.

    Raises:
        ConfigError: The goal's is not local, or there is no curvature that could choose one.
    """
    floor = max(-2.0 * curvature.smallest, 1e-6 * curvature.largest)
    if goal.damping is not None:
        if goal.damping <= -curvature.smallest:
            raise ConfigError(
                f"damping {goal.damping:.3g} with a smallest curvature of {curvature.smallest:.3g}:"
                " there is no local law; raise the damping above its absolute value, twice as much "
                f"({floor:.3g}) is safe"
            )
        return goal.damping
    if floor <= 0:
        raise ConfigError("the loss has no curvature at the checkpoint; choose a damping yourself")
    # There the directions are too few: each is at most λ_max/δ.
    enough = 10.0 * curvature.parameters / samples
    low, high = math.log(floor), math.log(max(floor, curvature.largest * max(1.0, enough)))
    for _ in range(40):
        middle = 0.5 * (low + high)
        crowded = curvature.effective_dimension(math.exp(middle)) > samples / 10
        low, high = (middle, high) if crowded else (low, middle)
    return math.exp(high)


class _Search:
    """The pilots of one calibration and what they showed."""

    def __init__(
        self,
        loss: PerSampleLoss,
        centre: Tensor,
        queries: PerSampleLoss | None,
        kind: Kind,
        kernel: Name,
        goal: Goal,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        if kernel not in STABLE:
            raise ConfigError(f"kernel {kernel!r} cannot be calibrated; choose of {list(STABLE)}")
        self.loss, self.centre, self.kind, self.kernel = loss, centre, kind, kernel
        self.watch, self.goal, self.seed, self.say = Watch(loss, queries), goal, seed, say
        self.table: list[dict[str, Any]] = []

    def temperature(
        self, curvature: Curvature, damping: float, batch_size: int | None
    ) -> tuple[float, float]:
        """Return nβ and the correlation of its influences with those of the next rung."""
        # The first rung's loss rises by a nat: E[L_n] - L_n(w*) = d/(2 nβ).
        first = max(0.5 * curvature.effective_dimension(damping), 1.0)
        rungs = [first * FACTOR**k for k in range(RUNGS + 1)]
        below = self._fly("locality", self._at(curvature, rungs[0], damping, batch_size))
        agreement = 0.0
        for rung, above in zip(rungs, rungs[1:], strict=False):
            pilot = self._fly("locality", self._at(curvature, above, damping, batch_size))
            agreement = _correlation(below.influence, pilot.influence)
            self.table[-2]["agreement"] = agreement
            self.say(f"n_beta {rung:.3g}: agrees with ten times as much to {agreement:.3f}")
            if agreement >= self.goal.locality and below.diverged == 0:
                return rung, agreement
            below = pilot
        self.say(f"no n_beta reaches locality {self.goal.locality}; the largest is taken")
        return rungs[-2], agreement

    def plan(
        self, curvature: Curvature, n_beta: float, damping: float, batch_size: int | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the settings of a run with this batch size, and the evidence for them."""
        chosen, pilot, bias = self._step(self._at(curvature, n_beta, damping, batch_size))
        kernel, schedule = self._kernel(chosen), self._schedule(chosen)
        chains = self.goal.chains
        clock = price(
            kernel, self._potential(chosen), self.watch, chains=chains, batch_size=batch_size
        )
        length = plan_length(
            pilot,
            schedule,
            passes(self.watch, chains=chains, batch_size=batch_size),
            clock,
            pilot_chains=self.goal.pilot_chains,
            chains=chains,
            reliability=self.goal.reliability,
            seconds=self.goal.seconds,
        )
        friction = self._friction(chosen) if self.kernel in WITH_FRICTION else None
        settings = {
            "kernel": self.kernel,
            "step_size": chosen.step_size,
            "friction": friction,
            "n_beta": n_beta,
            "localization": chosen.localization,
            "potential": self.kind,
            "control_variate": batch_size is not None,
            "batch_size": batch_size,
            "chains": chains,
            "burn_in": schedule.burn_in,
            "draws": length["draws"],
            "spacing": length["spacing"],
        }
        evidence = {
            "bias": _plain(bias),
            "snr_pilot": pilot.snr,
            "acceptance": acceptance(
                make("mala", chosen.step_size), self._potential(chosen), seed=self.seed
            ),
            "step_seconds": clock.step,
            "draw_seconds": clock.draw,
            **{name: length[name] for name in length if name not in ("draws", "spacing")},
        }
        return settings, evidence

    def _step(self, start: _Setting) -> tuple[_Setting, Pilot, float]:
        """Halve the step until the bias is small; return the setting, its pilot and its bias.

        The bias of the smallest step is not measured: that of twice the step stands for it.
        """
        setting, pilot = start, self._fly("step", start)
        for _ in range(MOST_HALVINGS):
            half = setting._replace(step_size=0.5 * setting.step_size)
            finer = self._fly("step", half)
            bias, error = _bias(pilot, finer)
            self.table[-2].update(bias=_plain(bias), bias_se=_plain(error))
            self.say(f"step {setting.step_size:.3g}: bias {bias:.3f} +- {error:.3f}")
            if pilot.diverged == 0 and bias <= self.goal.bias:
                return setting, pilot, bias
            setting, pilot = half, finer
        if pilot.diverged:
            raise DivergenceError(
                f"{pilot.diverged} of {self.goal.pilot_chains} chains diverge at step_size "
                f"{setting.step_size:.3g} (n_beta {setting.n_beta:.3g}, localization "
                f"{setting.localization:.3g}); raise the damping, or use larger batches"
            )
        self.say(f"no step reaches bias {self.goal.bias}; the smallest is taken")
        return setting, pilot, bias

    def _at(
        self, curvature: Curvature, n_beta: float, damping: float, batch_size: int | None
    ) -> _Setting:
        largest = n_beta * (curvature.largest + damping)
        return _Setting(n_beta, n_beta * damping, 0.5 * STABLE[self.kernel] / largest, batch_size)

    def _fly(self, phase: str, setting: _Setting) -> Pilot:
        pilot = fly(
            self._kernel(setting),
            self._potential(setting),
            self.watch,
            self._schedule(setting),
            chains=self.goal.pilot_chains,
            batch_size=setting.batch_size,
            seed=self.seed,
        )
        row: dict[str, Any] = {"phase": phase, **setting._asdict(), "snr": pilot.snr}
        row |= {"spread": pilot.spread[0], "spread_se": pilot.spread[1]}
        row |= dict(zip(("llc", "llc_se"), pilot.learning_coefficient, strict=True))
        row |= {"diverged": pilot.diverged, "agreement": None, "bias": None, "bias_se": None}
        self.table.append({key: _plain(value) for key, value in row.items()})
        return pilot

    def _potential(self, setting: _Setting) -> Potential:
        return Potential(
            self.loss,
            self.centre,
            setting.n_beta,
            setting.localization,
            self.kind,
            setting.batch_size is not None,
        )

    def _kernel(self, setting: _Setting) -> Any:
        friction = self._friction(setting) if self.kernel in WITH_FRICTION else None
        return make(self.kernel, setting.step_size, friction=friction)

    def _friction(self, setting: _Setting) -> float:
        return -math.expm1(-2.0 * math.sqrt(0.5 * setting.step_size * setting.localization))

    def _schedule(self, setting: _Setting) -> Schedule:
        """Five relaxation times of the flattest direction, then a draw every half of one."""
        rate = 0.5 * setting.step_size * setting.localization  # of SGLD; the root with momentum
        relaxation = 1.0 / (math.sqrt(rate) if self.kernel in WITH_FRICTION else rate)
        return Schedule(math.ceil(5 * relaxation), PILOT_DRAWS, math.ceil(0.5 * relaxation))


def _correlation(
    one: Float64[np.ndarray, "query sample"], other: Float64[np.ndarray, "query sample"]
) -> float:
    """Return the mean over queries of the correlation of two sets of influences about their means.

    Queries without any influence are left out; where all are, it is 0.
    """
    norms = np.sqrt(np.square(one).sum(1) * np.square(other).sum(1))
    alive = norms > 0
    return float(((one * other).sum(1)[alive] / norms[alive]).mean()) if alive.any() else 0.0


def _bias(pilot: Pilot, finer: Pilot) -> tuple[float, float]:
    """Return the relative bias of the coarser of two steps, to first order, and its error.

    Twice the relative difference: halving the step halves the bias. Of the learning coefficient
    and the trace of the loss covariance the larger counts, the second less its error, which is
    several times the first's.
    """
    found = []
    pairs = (
        (pilot.learning_coefficient, finer.learning_coefficient, 0.0),
        (pilot.spread, finer.spread, 1.0),
    )
    for (value, se), (other, other_se), slack in pairs:
        scale = abs(other) or math.nan  # losses that nothing moves have no relative bias
        error = 2.0 * math.hypot(se, other_se) / scale
        found.append((max(2.0 * abs(value - other) / scale - slack * error, 0.0), error))
    return max((bias, error) if math.isfinite(bias) else (math.inf, error) for bias, error in found)


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
