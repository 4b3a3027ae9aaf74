"""The law of two regressions with weights of their own."""

import numpy as np

from stagewise.data.modular import modular
from stagewise.evaluation.multitask_law import (
    features,
    regression_law,
    targets,
)


def test_tasks_have_features_of_their_own() -> None:
    train, _ = modular(5, ("add", "subtract"), 0, 0.6)
    z = features(train.inputs)
    assert z.shape == (30, 20)
    assert not z[train.task == 0, 10:].any()
    assert not z[train.task == 1, :10].any()
    np.testing.assert_array_equal(z.sum(axis=1), 2)


def test_targets_lie_between_0_and_1() -> None:
    np.testing.assert_allclose(targets(np.arange(5), 5), [0, 0.25, 0.5, 0.75, 1])


def test_law_is_that_of_draws_and_exactly_zero_across_tasks() -> None:
    """Gaussian draws of the weights from the law itself; 4e5 of them, so 5 se is about 2%."""
    train, _ = modular(5, ("add", "subtract"), 0, 0.6)
    z, y = features(train.inputs).astype(float), targets(train.labels, 5)
    recorded = np.arange(0, 30, 3)
    n_beta, localization, step_size = 50.0, 10.0, 1e-2
    law = regression_law(z, y, recorded, n_beta, localization, step_size)
    task = train.task[recorded]
    assert np.abs(law[task[:, None] != task]).max() < 1e-15
    curvature = n_beta * z.T @ z / len(z) + localization * np.eye(z.shape[1])
    covariance = np.linalg.inv(curvature - step_size / 4 * curvature @ curvature)
    rng, count = np.random.default_rng(0), 400_000
    mean = np.linalg.solve(curvature, n_beta * z.T @ y / len(z))
    w = mean + rng.normal(size=(count, 20)) @ np.linalg.cholesky(covariance).T
    losses = 0.5 * np.square(y[recorded] - w @ z[recorded].T)
    sampled = np.cov(losses.T)
    scale = np.sqrt(np.outer(np.diag(law), np.diag(law)))
    assert np.abs((sampled - law) / scale).max() < 0.03
