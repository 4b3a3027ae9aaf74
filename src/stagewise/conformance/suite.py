"""Samplers times problems: the tidy table of who agrees with what."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from stagewise.conformance.problem import Problem, Settings
from stagewise.conformance.sampler import NotApplicable, Sampler, law_of, settings_of
from stagewise.conformance.verdict import Comparison, Rule, compare
from stagewise.seeds import seed_sequence

#: Columns of the table, one row for each check of each problem under each sampler: what was found,
#: what the adapter passed to its library (``settings``), and what the problem asked for.
COLUMNS = (
    "sampler",
    "version",
    "problem",
    "title",
    *Comparison._fields,
    "seconds",
    "settings",
    *(setting.name for setting in fields(Settings)),
)


def run_suite(
    samplers: Iterable[Sampler], problems: Sequence[Problem], rule: Rule, seed: int
) -> pd.DataFrame:
    """Run every sampler on every problem and compare.

    Args:
        samplers: Adapters.
        problems: Problems.
        rule: False-fail rate and allowance.
        seed: Root seed; each sampler and problem has a seed of its own.

    Returns:
        ``COLUMNS``; ``passed`` is True, False, or None where the sampler doesn't do the problem or
        no law is known that it could be held against, and then ``note`` says why.

    Raises:
        ConfigError: If a sampler's losses have the wrong shape, aren't finite, or are too few.
    """
    rows = [
        row
        for sampler in samplers
        for problem in problems
        for row in _rows(sampler, problem, rule, seed)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(sampler: Sampler, problem: Problem, rule: Rule, seed: int) -> list[dict[str, object]]:
    own = seed_sequence(seed, "conformance", sampler.name, problem.name)
    begun = time.perf_counter()
    try:
        losses = sampler.sample(problem, int(own.generate_state(1)[0] >> 1))
        spent = time.perf_counter() - begun
        found = compare(problem, losses, law_of(sampler), rule, sampler.name)
    except NotApplicable as reason:
        spent, found = 0.0, [_skipped(check.name, str(reason)) for check in problem.checks]
    shared = {
        "sampler": sampler.name,
        "version": sampler.version,
        "problem": problem.name,
        "title": problem.title,
        "seconds": spent,
        "settings": json.dumps(dict(settings_of(sampler)), sort_keys=True),
        **asdict(problem.settings),
    }
    return [shared | one._asdict() for one in found]


def _skipped(check: str, reason: str) -> Comparison:
    return Comparison(check, None, 0.0, 0, 0, *([np.nan] * 9), None, reason)
