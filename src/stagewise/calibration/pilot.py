"""Short runs that calibration learns from, and the statistics it takes of them."""

import time
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from stagewise.estimators.covariance import CentredChains, covariance
from stagewise.estimators.crosschain import null_covariance
from stagewise.estimators.local_learning import mean_loss
from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.kernels import mala
from stagewise.sampling.kernels.by_name import Kernel
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import RunResult, Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams


class Pilot(NamedTuple):
    """What one short run shows.

    Attributes:
        influence: BIF = -Cov(query, sample), each query's mean over samples taken away.
        power: Each query's squared signal over its own null's (chains paired by a derangement),
            |BIF|²/|null|² - 1 over the samples; 0 where the null is as large (query,).
        spread: Σ_i Var(l_i), the trace of the loss covariance, and its standard error.
        learning_coefficient: E[U] - (γ/2) E|d|², and its standard error: nβ E[L_n - L_n(w*)], less
            the tilt where the potential is recentred.
        time: Integrated autocorrelation time of products of losses, in draws.
        diverged: Chains that did.
    """

    influence: Float64[np.ndarray, "query sample"]
    power: Float64[np.ndarray, " query"]
    spread: tuple[float, float]
    learning_coefficient: tuple[float, float]
    time: float
    diverged: int

    @property
    def snr(self) -> float:
        """Root of the mean power over queries."""
        return float(np.sqrt(self.power.mean()))


class Cost(NamedTuple):
    """Of a step of all chains, and of a recorded draw of all chains: seconds, or passes."""

    step: float
    draw: float


class Watch(NamedTuple):
    """What pilots record: at most so many samples and queries, evenly spaced."""

    loss: PerSampleLoss
    queries: PerSampleLoss | None
    samples: int = 256


def fly(
    kernel: Kernel,
    potential: Potential,
    watch: Watch,
    schedule: Schedule,
    *,
    chains: int,
    batch_size: int | None,
    seed: int,
) -> Pilot:
    """Run a pilot and take its statistics.

    All pilots of one seed draw the same numbers, so that two of them differ by their settings and
    hardly by chance.
    """
    streams = _streams(potential, chains, batch_size, seed)
    result = run(kernel, potential, streams, schedule, queries=watch.queries)
    return _statistics(result, potential.localization, watch)


def passes(watch: Watch, *, chains: int, batch_size: int | None) -> Cost:
    """Count what a step and a draw cost, in passes of a sample forward through the network.

    A gradient is three passes, a difference from the checkpoint's two gradients. Counts are the
    same on every machine and at every load, so that choices made by them are too.
    """
    samples = watch.loss.sample_count
    queries = 0 if watch.queries is None else watch.queries.sample_count
    gradients = samples if batch_size is None else 2 * batch_size
    return Cost(3.0 * chains * gradients, float(chains * (samples + queries)))


def price(
    kernel: Kernel,
    potential: Potential,
    watch: Watch,
    *,
    chains: int,
    batch_size: int | None,
) -> Cost:
    """Time a step and a draw in seconds, by runs of equal steps with few draws and with many."""
    streams = _streams(potential, chains, batch_size, 0)
    steps = streams.steps
    few, many = Schedule(steps - 1, 1), Schedule(0, max(2, steps // 2), 2)
    seconds = []
    for schedule in (few, few, many):  # the first one warms up
        begun = time.perf_counter()
        run(kernel, potential, streams, schedule, queries=watch.queries)
        seconds.append(time.perf_counter() - begun)
    draw = max(seconds[2] - seconds[1], 0.0) / (many.draws - 1)
    return Cost(max(seconds[1] - draw, 1e-9) / steps, draw)


def acceptance(kernel: mala.Kernel, potential: Potential, *, seed: int, steps: int = 40) -> float:
    """Return the mean acceptance probability of MALA at this step, over the later half of a run.

    How far a Metropolis test would find the step from exact. In many dimensions it refuses steps
    whose loss covariances are fine: evidence, not a criterion.
    """
    streams = _streams(potential, 8, None, seed)
    result = run(kernel, potential, streams, Schedule(steps // 2, steps - steps // 2))
    return float(np.nanmean(result.info["acceptance"]))


def _streams(potential: Potential, chains: int, batch_size: int | None, seed: int) -> NoiseStreams:
    return NoiseStreams(
        seed,
        "calibration",
        chains,
        potential.loss.parameter_count,
        batch_size=batch_size,
        sample_count=potential.loss.sample_count,
        dtype=potential.centre.dtype,
        device=potential.centre.device,
    )


def _statistics(result: RunResult, localization: float, watch: Watch) -> Pilot:
    keep = result.status[0] == 0
    samples = _thinned(result.excess_loss[0][keep], watch.samples)
    queries = samples
    if result.query_excess_loss is not None:
        queries = _thinned(result.query_excess_loss[0][keep], watch.samples // 4)
    lost = int((~keep).sum())
    if keep.sum() < 8:
        empty, nothing = np.zeros((queries.shape[-1], samples.shape[-1])), (np.nan, np.nan)
        return Pilot(empty, np.zeros(len(empty)), nothing, nothing, np.nan, lost)
    influence = -_about_mean(covariance(queries, samples).value)
    null = _about_mean(null_covariance(queries, samples).value)
    rise = result.potential[0][keep] - 0.5 * localization * np.square(result.distance[0][keep])
    llc = mean_loss(rise[..., None])
    noise = np.square(null).sum(1)
    power = np.square(influence).sum(1) / np.where(noise > 0, noise, np.inf) - 1.0
    return Pilot(
        influence,
        np.maximum(power, 0.0),
        spread(samples),
        (float(llc.value), float(llc.se)),
        product_time(samples),
        lost,
    )


def _thinned(losses: np.ndarray, most: int) -> np.ndarray:
    count = losses.shape[-1]
    return losses[..., np.linspace(0, count - 1, min(most, count)).round().astype(int)]


def _about_mean(matrix: np.ndarray) -> np.ndarray:
    return matrix - matrix.mean(axis=-1, keepdims=True)


def spread(losses: Float[np.ndarray, "chain draw n"]) -> tuple[float, float]:
    """Return Σ_i Var(l_i) and its standard error by leaving out one chain at a time."""
    chains, draws = losses.shape[:2]
    centred = CentredChains(losses, "across")
    own = np.array([np.square(centred.block(chain)).sum() for chain in range(chains)]) / draws
    # As in estimators.covariance: S - C/(C-1) P_k, over C - 2.
    left_out = (own.sum() - chains / (chains - 1) * own) / (chains - 2)
    return float(own.sum() / (chains - 1)), float(left_out.std() * np.sqrt(chains - 1))


def product_time(losses: Float[np.ndarray, "chain draw n"], pairs: int = 64) -> float:
    """Return the integrated autocorrelation time of products of centred losses, in draws.

    By the variance of chain means: with T draws the mean of a chain varies by s² τ/T, s² the
    variance of one draw. The median over pairs of losses; between 1 and T.
    """
    chains, draws, count = losses.shape
    centred = CentredChains(losses, "across")
    blocks = np.stack([centred.block(chain) for chain in range(chains)])
    first = np.linspace(0, count - 1, pairs).round().astype(int)
    second = (first + np.arange(pairs) * 7 + 1) % count
    products = blocks[..., first] * blocks[..., second]
    between, within = products.mean(axis=1).var(axis=0, ddof=1), products.var(axis=(0, 1))
    ratio = draws * between / np.where(within > 0, within, 1.0)
    return float(np.clip(np.median(ratio[within > 0]), 1.0, draws)) if (within > 0).any() else 1.0
