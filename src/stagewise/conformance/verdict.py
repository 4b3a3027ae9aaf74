"""Does a sampler's run agree with the exact values? At a declared false-fail rate, and how sharply.

Each check becomes independent replicates, one per chain, whose mean is the estimate: of a mean the
chain's own average, of a covariance (centred across chains at each draw, which is unbiased at any
length) its pseudo-values by leaving out one chain at a time. A replicate vector is compared with
the exact vector entry by entry, and once as a whole through its relative size

    <estimate, exact> / <exact, exact> - 1,

the relative error that the tables print. Student's t of each, made less strict by the first
Edgeworth term with the skewness that the replicates show, is judged by Bonferroni over all of
a problem: half of the false-fail rate is shared by the sizes, half by the entries.

Where a sampler's own discretised law is known that law is exact and no allowance is made. Where it
is not, the target's (continuum) values are taken, and only what exceeds a declared allowance, a
fraction of the largest entry, counts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from stagewise.conformance.problem import CONTINUUM, Check, Law, Losses, Problem
from stagewise.errors import ConfigError
from stagewise.estimators.covariance import Products

Array = np.ndarray
Replicates = Float[Array, "chain entry"]

#: Chance that a discrepancy of the size that a verdict names as caught still passes.
FALSE_PASS = 1e-3
#: Beyond this many standard errors the correction for skewness stops growing.
FARTHEST = 7.0
#: Fewest chains whose spread can be relied on, and fewest draws.
FEWEST_CHAINS, FEWEST_DRAWS = 8, 2


@dataclass(frozen=True)
class Rule:
    """How verdicts are reached.

    Attributes:
        false_fail: Chance that a correct sampler fails a problem, over all its entries.
        allowance: Relative deviation from the continuum that is let pass where the law of the chain
            itself is not known, unless plain SGLD misses more.
        blunt: A run that would not have caught this relative error is too noisy to pass: it gets
            no verdict, unless it fails all the same.
    """

    false_fail: float
    allowance: float
    blunt: float = 0.5


class Comparison(NamedTuple):
    """One check of one sampler.

    ``law`` is the law that it was held against, None where there is none; ``exact``, ``estimate``,
    ``se``, ``z`` are those of the entry that deviates most, ``entry`` its place.
    ``relative_error`` is against that law, ``continuum_error`` against the target itself;
    ``caught`` is the relative error that would have failed with probability 1 - FALSE_PASS.
    """

    check: str
    law: str | None
    allowance: float
    entries: int
    entry: int
    exact: float
    estimate: float
    se: float
    z: float
    relative_error: float
    relative_error_se: float
    continuum_error: float
    continuum_error_se: float
    caught: float
    passed: bool | None
    note: str


class _Evidence(NamedTuple):
    """A check's replicates beside the exact values, (chain, entry) and (entry,)."""

    check: Check
    replicates: Replicates
    continuum: Array
    exact: Array | None
    law: str
    allowance: float
    entry_allowance: float


def compare(
    problem: Problem, losses: Array, law: Law, rule: Rule, sampler: str
) -> list[Comparison]:
    """Compare a run with every check of its problem.

    Args:
        problem: What was run.
        losses: l_i(w), (chain, draw, sample), as the sampler returned them.
        law: The law that the sampler's integrator has.
        rule: False-fail rate and allowance.
        sampler: Its name, for messages.

    Returns:
        One comparison per check.

    Raises:
        ConfigError: If the losses have the wrong shape, aren't finite, or are too few.
    """
    excess = checked(problem, losses, sampler) - problem.reference()
    evidence = [_gather(check, problem, excess, law, rule) for check in problem.checks]
    judged = [len(one.exact) for one in evidence if one.exact is not None]
    # Half of the rate for the sizes of the checks, which are few and sharp, half for the entries.
    by_size, by_entry = (
        rule.false_fail / 2 / max(count, 1) for count in (len(judged), sum(judged))
    )
    return [_judge(one, by_size, by_entry, rule.blunt) for one in evidence]


def checked(problem: Problem, losses: Array, sampler: str) -> Losses:
    """Return a sampler's losses as float64 if they are what was asked for.

    Raises:
        ConfigError: If they are not; the message names the sampler and the problem.
    """
    who = f"sampler {sampler!r} on problem {problem.name!r}"
    settings = problem.settings
    wanted = (settings.chains, settings.draws, problem.sample_count)
    if settings.chains < FEWEST_CHAINS or settings.draws < FEWEST_DRAWS:
        raise ConfigError(
            f"{who}: {settings.chains} chains of {settings.draws} draws are too few to judge by;"
            f" at least {FEWEST_CHAINS} chains and {FEWEST_DRAWS} draws are needed"
        )
    found = np.asarray(losses)
    if found.shape != wanted or found.dtype.kind != "f":
        raise ConfigError(
            f"{who} returned {found.dtype} of shape {found.shape}; it must return floating-point"
            f" losses (chain, draw, sample) = {wanted}, one for each chain, draw and sample of"
            " problem.settings"
        )
    if not np.isfinite(found).all():
        chains = np.flatnonzero(~np.isfinite(found).all(axis=(1, 2))).tolist()
        raise ConfigError(
            f"{who} returned NaN or infinite losses in {len(chains)} of {wanted[0]} chains"
            f" (first: {chains[:5]}): they diverged; check that its step size means"
            f" {settings.step_size:g} in w - (step_size / 2) grad U"
        )
    return found.astype(np.float64)


def mean_replicates(features: Float[Array, "chain draw feature"]) -> Replicates:
    """Return each chain's mean of the features."""
    return features.mean(axis=1)


def covariance_replicates(features: Float[Array, "chain draw feature"]) -> Replicates:
    """Return each chain's pseudo-value of the covariance matrix, upper triangle."""
    products = Products(features, None, "across")
    upper = np.triu_indices(features.shape[-1])
    each = np.stack([block[upper] for block in products.each()])
    total = each.sum(axis=0) * products.scale
    spread = len(each) * products.scale * products.inflate
    return total + spread * (each - each.mean(axis=0))


def student_p(values: Replicates, exact: Array, allowed: Array) -> tuple[Array, Array]:
    """Return t of the means over replicates and p-values of what exceeds ``allowed``.

    p is Student's, two-sided, of |t| less skewness (2 t^2 + 1) / (6 sqrt(R)): the first Edgeworth
    term, on both sides. Replicates without any spread that miss the exact value have p = 0.
    """
    count = len(values)
    gap = values.mean(axis=0) - exact
    centred = values - values.mean(axis=0)
    # Sums of equal numbers leave rounding: spread below it is none.
    floor = 1e-12 * np.abs(exact).max(initial=0.0) + np.finfo(np.float64).tiny
    deviation = np.maximum(np.sqrt((centred**2).sum(axis=0) / (count - 1)), floor)
    skewness = np.abs((centred**3).mean(axis=0)) / deviation**3
    beyond = np.maximum(np.abs(gap) - allowed, 0.0) * np.sqrt(count) / deviation
    lean = skewness * (2 * np.minimum(beyond, FARTHEST) ** 2 + 1) / (6 * np.sqrt(count))
    p = 2 * stats.t.sf(np.maximum(beyond - lean, 0.0), count - 1)
    return gap * np.sqrt(count) / deviation, np.minimum(p, 1.0)


def _gather(check: Check, problem: Problem, excess: Losses, law: Law, rule: Rule) -> _Evidence:
    of = mean_replicates if check.statistic == "mean" else covariance_replicates
    continuum = check.exact(CONTINUUM)
    if continuum is None:
        raise ConfigError(f"problem {problem.name!r}, check {check.name!r}: no continuum value")
    full, exact = problem.settings.batch_size is None, None
    known = law.name != "continuum"
    if law.name == "exact":
        exact = continuum if full else None
    elif known:
        exact = check.exact(law)
    if exact is None and full:  # with minibatches the target itself is no reference
        exact, known = continuum, False
    replicates = of(check.features(excess))
    target = _entries(continuum)
    if known or exact is None:
        values = None if exact is None else _entries(exact)
        return _Evidence(check, replicates, target, values, law.name, 0.0, 0.0)
    return _Evidence(
        check, replicates, target, target, "continuum", *_allowances(check, target, rule)
    )


def _allowances(check: Check, target: Array, rule: Rule) -> tuple[float, float]:
    """What may be missed, relative to the size and in any entry: at least what plain SGLD misses.

    Its discretisation at the same step is the measure where it is known: some problems take large
    steps on purpose, and a chain whose own law is unknown is not to fail for the step it was given.
    """
    by_size, by_entry = rule.allowance, rule.allowance * float(np.abs(target).max())
    plain = check.exact(Law("sgld"))
    if plain is None:
        return by_size, by_entry
    missed = _entries(plain) - target
    of_size = abs(float(missed @ target / (target @ target)))
    return max(by_size, of_size), max(by_entry, float(np.abs(missed).max()))


def _entries(values: Array) -> Array:
    """A vector as it is, of a symmetric matrix the upper triangle."""
    return values if values.ndim == 1 else values[np.triu_indices(len(values))]


def _relative(replicates: Replicates, exact: Array) -> Array:
    """Replicates of the relative size <estimate, exact> / <exact, exact> - 1."""
    return replicates @ exact / (exact @ exact) - 1.0


def _with_whole(evidence: _Evidence) -> tuple[Array, Array, Replicates]:
    """Exact values, allowed deviations and replicates of all entries and of the whole, last."""
    exact = evidence.exact
    assert exact is not None
    whole = _relative(evidence.replicates, exact)
    values = np.column_stack([evidence.replicates, whole])
    allowed = np.full(len(exact), evidence.entry_allowance)
    return np.append(exact, 0.0), np.append(allowed, evidence.allowance), values


def _judge(evidence: _Evidence, by_size: float, by_entry: float, blunt: float) -> Comparison:
    chains = len(evidence.replicates)
    off = _relative(evidence.replicates, evidence.continuum)
    off_se = float(off.std(ddof=1) / np.sqrt(chains))
    if evidence.exact is None:
        return Comparison(
            evidence.check.name, None, 0.0, len(evidence.continuum), 0, *([np.nan] * 6),
            float(off.mean()), off_se, np.nan, None, "the law of this chain is not known",
        )  # fmt: skip
    exact, allowed, values = _with_whole(evidence)
    z, p = student_p(values, exact, allowed)
    error, se = float(values[:, -1].mean()), float(values[:, -1].std(ddof=1) / np.sqrt(chains))
    worst = int(np.argmax(np.abs(z[:-1])))
    strict = stats.t.isf(by_size / 2, chains - 1) + stats.norm.isf(FALSE_PASS)
    caught = evidence.allowance + strict * se
    agrees = bool(p[-1] >= by_size and p[:-1].min() >= by_entry)
    noisy = agrees and caught > blunt
    return Comparison(
        check=evidence.check.name,
        law=evidence.law,
        allowance=evidence.allowance,
        entries=len(evidence.exact),
        entry=worst,
        exact=float(exact[worst]),
        estimate=float(values[:, worst].mean()),
        se=float(values[:, worst].std(ddof=1) / np.sqrt(chains)),
        z=float(z[worst]),
        relative_error=error,
        relative_error_se=se,
        continuum_error=float(off.mean()),
        continuum_error_se=off_se,
        caught=caught,
        passed=None if noisy else agrees,
        note="too noisy to judge" if noisy else evidence.check.note,
    )
