"""Verdicts: what is refused before anything is compared, and what the comparison computes."""

import numpy as np
import pytest

from stagewise.conformance.problem import Law, Problem
from stagewise.conformance.problems.by_name import problem
from stagewise.conformance.verdict import (
    Rule,
    compare,
    covariance_replicates,
    student_p,
)
from stagewise.errors import ConfigError
from stagewise.estimators.covariance import covariance

RULE = Rule(1e-4, 0.05, blunt=np.inf)


@pytest.fixture(scope="module")
def small() -> Problem:
    return problem("gaussian").with_length(16, 5)


def losses(chosen: Problem) -> np.ndarray:
    given = chosen.settings
    shape = (given.chains, given.draws, chosen.sample_count)
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[:, :, :-1],
        lambda found: found[:-1],
        lambda found: found.transpose(1, 0, 2),
        lambda found: found.astype(np.int64),
    ],
)
def test_losses_of_another_shape_are_refused_by_name(change: object, small: Problem) -> None:
    with pytest.raises(ConfigError, match=r"'mine' on problem 'gaussian'.*\(16, 5, 6\)"):
        compare(small, change(losses(small)), Law(), RULE, "mine")


def test_losses_that_are_not_finite_are_refused_by_name(small: Problem) -> None:
    bad = losses(small)
    bad[3, 2, 1] = np.nan
    with pytest.raises(ConfigError, match=r"'mine' on problem 'gaussian'.*1 of 16 chains.*\[3\]"):
        compare(small, bad, Law(), RULE, "mine")


@pytest.mark.parametrize(("chains", "draws"), [(7, 5), (16, 1)])
def test_too_few_to_judge_by_is_refused_by_name(chains: int, draws: int) -> None:
    chosen = problem("gaussian").with_length(chains, draws)
    with pytest.raises(ConfigError, match=r"'mine' on problem 'gaussian'.*too few"):
        compare(chosen, losses(chosen), Law(), RULE, "mine")


def test_replicates_of_a_covariance_have_its_value_and_error() -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((20, 7, 3)) @ rng.standard_normal((3, 3))
    upper = np.triu_indices(3)
    wanted = covariance(features, centring="across")
    found = covariance_replicates(features)
    np.testing.assert_allclose(found.mean(0), wanted.value[upper])
    np.testing.assert_allclose(found.std(0, ddof=1) / np.sqrt(20), wanted.se[upper])


def test_p_values_without_skewness_are_students() -> None:
    from scipy import stats

    values = np.array([[-1.0], [1.0], [-1.0], [1.0]]) + 0.8
    z, p = student_p(values, np.zeros(1), np.zeros(1))
    wanted = stats.ttest_1samp(values[:, 0], 0.0)
    assert z[0] == pytest.approx(wanted.statistic)
    assert p[0] == pytest.approx(wanted.pvalue)


def test_an_allowance_lets_its_size_pass_and_no_more() -> None:
    values = 1.04 + 1e-6 * np.random.default_rng(2).standard_normal((50, 1))
    _, p = student_p(values, np.ones(1), np.full(1, 0.05))
    assert p[0] == 1.0
    _, p = student_p(values, np.ones(1), np.full(1, 0.03))
    assert p[0] < 1e-12


def test_replicates_without_spread_that_miss_are_impossible() -> None:
    _, p = student_p(np.zeros((20, 1)), np.ones(1), np.zeros(1))
    assert p[0] < 1e-12


def test_the_relative_error_is_that_of_the_size(small: Problem) -> None:
    """Mean excess losses 10% above the exact ones, at no spread."""
    check = small.checks[0]
    exact = check.exact(Law())
    assert exact is not None
    noise = 1e-4 * np.random.default_rng(3).standard_normal((16, 5, 1))
    made = small.reference() + 1.1 * exact * (1 + noise)
    (found, _) = compare(small, made, Law("exact"), RULE, "mine")
    assert found.relative_error == pytest.approx(0.1, abs=1e-3)
    assert (found.passed, found.law, found.allowance) == (False, "exact", 0.0)
    # Of a chain whose law is not known no more is asked than of plain SGLD at the same step.
    (found, _) = compare(small, made, Law(), RULE, "mine")
    assert (found.passed, found.law) == (True, "continuum")
    assert 0.1 < found.allowance < 0.3


def test_a_run_that_would_catch_nothing_gets_no_verdict(small: Problem) -> None:
    check = small.checks[0]
    exact = check.exact(Law())
    assert exact is not None
    noise = np.random.default_rng(4).standard_normal((16, 5, 1))
    made = small.reference() + exact * (1 + noise)
    (found, _) = compare(small, made, Law("exact"), Rule(1e-4, 0.05), "mine")
    assert found.caught > 0.5
    assert (found.passed, found.note) == (None, "too noisy to judge")
    (found, _) = compare(small, made, Law("exact"), RULE, "mine")
    assert found.passed is True


def test_a_law_that_is_not_known_gives_no_verdict_with_minibatches() -> None:
    chosen = problem("linear_regression_minibatch").with_length(16, 5)
    (found,) = compare(chosen, losses(chosen), Law("underdamped", 0.5), RULE, "mine")
    assert found.passed is None
    assert found.law is None
    assert np.isfinite(found.continuum_error)
