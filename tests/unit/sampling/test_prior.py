"""Independent draws of N(w*, I/gamma)."""

import numpy as np
import torch

from stagewise.models.per_sample import PerSampleLoss
from stagewise.sampling.prior import independent_draws
from support.statistics import FALSE_FAIL


class Linear(PerSampleLoss):
    """l_i(w) = g_i . w, whose covariance under the prior is g_i . g_j / gamma."""

    def __init__(self, slopes: torch.Tensor) -> None:
        self.slopes = slopes

    @property
    def sample_count(self) -> int:
        return len(self.slopes)

    @property
    def parameter_count(self) -> int:
        return self.slopes.shape[1]

    def losses(self, w, samples=None):
        return w @ (self.slopes if samples is None else self.slopes[samples]).T

    def mean_and_gradient(self, w, batch):
        return w @ self.slopes.mean(0), self.slopes.mean(0).expand_as(w).clone()

    def select(self, checkpoints):
        return self


SLOPES = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4))).float()


def test_the_covariance_is_that_of_gradients() -> None:
    """Z of each entry against its Gaussian error, Bonferroni over six; a factor 1.2 is caught."""
    from scipy import stats

    centre = torch.zeros(2, 4)
    found = independent_draws(Linear(SLOPES), centre, 50.0, range(20), 500, (1, "test"))
    assert found.excess_loss.shape == (2, 20, 500, 3)
    # Both checkpoints are at one place and share their noise.
    np.testing.assert_array_equal(found.excess_loss[0], found.excess_loss[1])
    exact = (SLOPES @ SLOPES.T / 50.0).numpy()
    rows = found.excess_loss[0].reshape(-1, 3).astype(float)
    estimate = rows.T @ rows / len(rows)
    variances = np.outer(np.diag(exact), np.diag(exact))
    se = np.sqrt((exact**2 + variances) / len(rows))
    bound = stats.norm.isf(FALSE_FAIL / 12)
    assert (np.abs(estimate - exact) < bound * se).all()
    assert (np.abs(1.2 * estimate - exact) > bound * se).any()


def test_a_block_of_chains_draws_what_all_of_them_would() -> None:
    centre = torch.ones(1, 4)
    whole = independent_draws(Linear(SLOPES), centre, 5.0, range(6), 4, (1, "test"))
    part = independent_draws(
        Linear(SLOPES), centre, 5.0, [2, 3], 4, (1, "test"), torch.tensor([2, 0])
    )
    np.testing.assert_array_equal(part.excess_loss[0], whole.excess_loss[0, 2:4][..., [2, 0]])
