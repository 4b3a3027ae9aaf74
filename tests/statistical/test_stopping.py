"""Optional stopping: how far it moves influences, and whether their errors stay honest.

Each of 150 runs is stopped where the rule is first content. Discrepancies that must be seen, with a
false-fail rate below 1e-6 each (z 4.89): influences moved by one standard error (the declared bound
is 0.2 + 4.89/sqrt(150) = 0.6 of the spread), and errors reported at two thirds of the spread or
below. The latter are compared as the ratio of root mean squares over 21 entries; its relative error
is at most that of one entry's spread, 1/sqrt(300) = 0.058, so 1.0 may read 0.72.
"""

import numpy as np

from stagewise.calibration.stopping import StoppingRule, until_standard_error
from stagewise.estimators.covariance import covariance
from support.problems import SEED
from support.traces import Z_LIMIT, autoregressive

RUNS, CHAINS, MOST = 150, 8, 400
MIX = np.random.default_rng(SEED).normal(size=(6, 6))


def stopped(rule: StoppingRule, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Influences and errors of one run where the rule first says yes."""
    for draws in range(rule.least_draws, MOST + 1):
        if rule.is_due(draws, 1):
            part = losses[:, :draws]
            if rule._one(part, part, "across") <= rule.target:
                break
    return covariance(losses[:, :draws], centring="across")


def test_stopping_early_moves_influences_little_and_leaves_errors_honest() -> None:
    """Catches a rule that goes by the values, and one asked so often that errors are luck."""
    rng = np.random.default_rng(SEED + 1)
    rule = until_standard_error(0.2, least_draws=20)
    runs = [stopped(rule, autoregressive(rng, (), CHAINS, MOST, 2.0, mix=MIX)) for _ in range(RUNS)]
    value, se = (np.stack(one) for one in zip(*runs, strict=True))
    spread = value.std(axis=0, ddof=1)
    moved = np.abs(value.mean(axis=0) - MIX @ MIX.T) / spread
    assert moved.max() < 0.2 + Z_LIMIT / np.sqrt(RUNS)
    honest = np.sqrt(np.square(se).mean()) / np.sqrt(np.square(spread).mean())
    assert 0.72 < honest < 1.28
