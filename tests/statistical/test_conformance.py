"""The conformance suite passes a correct sampler and refuses wrong ones.

False-fail rate of each test: 1e-6 (``FALSE_FAIL``), over all entries of a problem. A planted bug
changes a variance by a quarter or more, or a mean by more than that; with the lengths used here the
relative error that is caught with probability 0.999 is asserted to be below 0.2.
"""

import numpy as np
import pytest

from stagewise.conformance.adapters.stagewise import StagewiseSampler
from stagewise.conformance.problems.by_name import PROBLEMS, problem
from stagewise.conformance.suite import run_suite
from stagewise.conformance.verdict import Rule
from support.plain_chain import BUGS, PlainChain
from support.statistics import FALSE_FAIL

RULE = Rule(FALSE_FAIL, 0.05, blunt=np.inf)
#: Where a bug shows. A sum for a mean makes the chain unstable at these steps, which is refused
#: before anything is compared, so that it has a test of its own.
SHOWS_ON = {
    "noise_too_large": "gaussian",
    "drift_too_large": "gaussian",
    "localization_dropped": "gaussian",
    "localization_toward_zero": "gaussian",
    "beta_for_n_beta": "gaussian",
    "observed_on_batch": "linear_regression_minibatch",
    "noise_shared": "gaussian",
    "no_localization_half": "gaussian",
}


@pytest.mark.parametrize("name", ["gaussian", "linear_regression_minibatch", "double_well"])
def test_a_correct_sampler_passes_the_law_of_its_own_chain(name: str) -> None:
    table = run_suite([PlainChain()], [problem(name)], RULE, seed=1)
    assert table["passed"].all()
    assert (table["law"] == "sgld").all()


def test_what_is_caught_is_what_the_bugs_do() -> None:
    chosen = [problem(name) for name in dict.fromkeys(SHOWS_ON.values())]
    table = run_suite([PlainChain()], chosen, RULE, seed=2)
    sharpest = table.groupby("problem")["caught"].min()
    assert (sharpest < 0.2).all()


@pytest.mark.parametrize("bug", SHOWS_ON, ids=lambda bug: BUGS[bug].replace(" ", "_"))
def test_a_planted_bug_is_refused(bug: str) -> None:
    table = run_suite([PlainChain(bug)], [problem(SHOWS_ON[bug])], RULE, seed=3)
    assert not table["passed"].astype(bool).all()


def test_every_bug_is_refused_somewhere() -> None:
    assert set(SHOWS_ON) | {"sum_for_mean"} == set(BUGS)


DISCRETE = ("linear_regression_minibatch", "normal_crossing", "normal_crossing_uneven")


@pytest.mark.parametrize(
    ("kernel", "name"),
    [("mala", name) for name in PROBLEMS if name != "linear_regression_minibatch"]
    + [("sgld", name) for name in DISCRETE],
)
def test_problems_are_what_this_project_samples(kernel: str, name: str) -> None:
    """MALA has the target's law itself, SGLD that of its own steps; neither is allowed anything."""
    table = run_suite(
        [StagewiseSampler(kernel, 0.7)], [problem(name).with_length(128, 40)], RULE, seed=4
    )
    assert table["passed"].astype(bool).all()
    assert (table["law"] == {"mala": "exact", "sgld": "sgld"}[kernel]).all()
    assert (table["allowance"] == 0).all()


def test_verdicts_come_at_the_declared_rate() -> None:
    """Independent draws of a known law, many suites: few fail at a rate of one in twenty.

    With R suites the number of failures is binomial; its bound is exceeded with chance 1e-6.
    """
    from scipy import stats

    from stagewise.conformance.problem import Law
    from stagewise.conformance.verdict import compare

    rule = Rule(0.05, 0.05, blunt=np.inf)  # every run gets a verdict, however noisy
    chosen = problem("gaussian").with_length(64, 4)
    rng = np.random.default_rng(5)
    rows = chosen.data.numpy().astype(np.float64)
    gradients, hessians = rows[:, :4], rows[:, 4:].reshape(-1, 4, 4)
    total = chosen.settings.n_beta * hessians.mean(0) + chosen.settings.localization * np.eye(4)
    root = np.linalg.cholesky(np.linalg.inv(total))
    failures, suites = 0, 400
    for _ in range(suites):
        d = rng.standard_normal((64, 4, 4)) @ root.T
        losses = d @ gradients.T + 0.5 * np.einsum("ctp,ipq,ctq->cti", d, hessians, d)
        found = compare(chosen, losses, Law("exact"), rule, "independent draws")
        failures += not all(one.passed for one in found)
    assert failures <= stats.binom.isf(1e-6, suites, 0.05)
