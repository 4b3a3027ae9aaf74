"""How well sampled influences agree with an exact answer, and with themselves."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from stagewise.errors import ConfigError
from stagewise.estimators.covariance import covariance
from stagewise.evaluation.curves import Summary

GROUPS = 8

Influence = Float64[np.ndarray, "query sample"]


class Agreement(NamedTuple):
    """Agreement of one run's influences.

    Attributes:
        exact: With the exact answer; its error by leaving out one of eight groups of chains.
        halves: Of one half of the chains with the other.
        reliability: With the run's own limit of many draws, sqrt(2 r/(1 + r)) of the halves' r
            (Spearman & Brown's formula for twice the length, and its root for the limit).
    """

    exact: Summary
    halves: float
    reliability: float


def agreement(one: Influence, other: Influence) -> float:
    """Return the mean over queries of the correlation over samples of two sets of influences.

    A query without variance in either set counts as 0.
    """
    one, other = (values - values.mean(axis=1, keepdims=True) for values in (one, other))
    norms = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    return float(
        np.divide((one * other).sum(axis=1), norms, np.zeros_like(norms), where=norms > 0).mean()
    )


def agreement_with(
    queries: Float[np.ndarray, "chain draw query"],
    samples: Float[np.ndarray, "chain draw sample"],
    answer: Influence,
) -> Agreement:
    """Compare the influences of one run, centred across chains, with an exact answer.

    Args:
        queries: Losses of the queries at every draw.
        samples: Losses of the samples.
        answer: Exact influences in BIF's sense.

    Raises:
        ConfigError: Fewer than eight chains.
    """
    chains = len(samples)
    if chains < GROUPS:
        raise ConfigError(f"{chains} chains; the error of an agreement needs at least {GROUPS}")

    def influence(keep: np.ndarray) -> Influence:
        return -covariance(queries[keep], samples[keep], centring="across").value

    everything, parts = np.arange(chains), np.array_split(np.arange(chains), GROUPS)
    whole = agreement(influence(everything), answer)
    rest = np.array(
        [agreement(influence(np.setdiff1d(everything, part)), answer) for part in parts]
    )
    se = float(np.sqrt((GROUPS - 1) * rest.var()))
    halves = agreement(influence(everything[::2]), influence(everything[1::2]))
    reliability = np.sqrt(2 * max(halves, 0.0) / (1 + max(halves, 0.0)))
    return Agreement(Summary(whole, se, chains), halves, float(reliability))
