"""The retraining experiments as tidy tables."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stagewise.evaluation.bootstrap import Resamples, interval, resamples
from stagewise.evaluation.ceiling import ceiling, halvings
from stagewise.evaluation.lds import lds, realised, resampled
from stagewise.evaluation.loo import changes
from stagewise.evaluation.removal import removal_table
from stagewise.evaluation.retraining_files import (
    MAIN_ALPHA,
    Candidate,
    Truth,
    scored_left_out,
    tuning_score,
)
from stagewise.seeds import generator

BIF, EXACT, EKFAC = "bif", "exact_ggn", "ekfac"
Chosen = Mapping[str, Mapping[str, Candidate]]


class Plan(NamedTuple):
    """How intervals are made.

    Attributes:
        seed: Root seed.
        resamplings: Bootstrap draws.
        level: Chance that an interval holds the truth.
        splits: Halvings of the seeds, at most.
    """

    seed: int
    resamplings: int
    level: float
    splits: int

    def generator(self, *names: str) -> np.random.Generator:
        """Return the stream of one set of resamples, the same for all methods."""
        return generator(self.seed, "retraining", *names)

    def draws(self, subsets: int, queries: int, *names: str) -> Resamples:
        """Return resamples of subsets and queries."""
        return resamples(self.resamplings, subsets, queries, self.generator("bootstrap", *names))


def score_tables(
    found: Mapping[str, Truth], best: Chosen, plan: Plan
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return every method's score at every α, and paired differences of two methods.

    Columns problem, alpha, method, setting, label, value, se, low, high, n_subsets, n_queries; and
    with first and second in place of method: the score of the first less that of the second.
    """
    scores: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for problem, truth in found.items():
        for alpha, targets in truth.scored.items():
            loss = realised(targets)
            own = best.get(problem, {})
            predictions = {method: one.scored[alpha] for method, one in own.items()}
            tags = {"problem": problem, "alpha": alpha}
            counts = {"n_subsets": loss.shape[0], "n_queries": loss.shape[1]}
            drawn = resampled(loss, predictions, plan.draws(*loss.shape, problem, f"{alpha}"))
            value = {method: lds(loss, one) for method, one in predictions.items()}
            for method, one in own.items():
                ends = interval(value[method], drawn[method], plan.level)._asdict()
                setting = {"setting": one.setting, "label": one.label}
                scores.append({**tags, "method": method, **setting, **ends, **counts})
            for first, second in pairs_of(list(own)):
                gap = interval(
                    value[first] - value[second], drawn[first] - drawn[second], plan.level
                )
                names = {"first": first, "second": second}
                differences.append({**tags, **names, **gap._asdict(), **counts})
    return pd.DataFrame(scores), pd.DataFrame(differences)


def pairs_of(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return the compared pairs: BIF and each other method, exact influence and EK-FAC."""
    pairs = [(BIF, other) for other in methods if other != BIF] if BIF in methods else []
    return [*pairs, (EXACT, EKFAC)] if {EXACT, EKFAC} <= set(methods) else pairs


def settings_table(
    candidates: Sequence[Candidate], found: Mapping[str, Truth], best: Chosen
) -> pd.DataFrame:
    """Return rows problem, method, setting, label, value, seconds, megabytes, chosen."""
    rows = []
    for one in sorted(candidates, key=lambda one: (one.problem, one.method, one.setting)):
        rows.append(
            {
                "problem": one.problem,
                "method": one.method,
                "setting": one.setting,
                "label": one.label,
                "value": tuning_score(one, found[one.problem]),
                "seconds": one.seconds,
                "megabytes": one.megabytes,
                "chosen": best[one.problem][one.method].setting == one.setting,
            }
        )
    return pd.DataFrame(rows)


def ceiling_table(found: Mapping[str, Truth], plan: Plan) -> pd.DataFrame:
    """Return rows problem, alpha, quantity (split_half, ceiling), value, se, low, high, n seeds."""
    rows = []
    for problem, truth in found.items():
        for alpha, targets in truth.scored.items():
            loss = targets["loss"].values
            subsets, seeds, queries = loss.shape
            draws = plan.draws(subsets, queries, problem, f"{alpha}")
            halves = halvings(seeds, plan.splits, plan.generator("halves", problem, f"{alpha}"))
            ends = ceiling(loss, halves, draws, plan.level)
            for quantity, one in zip(("split_half", "ceiling"), ends, strict=True):
                tags = {"problem": problem, "alpha": alpha, "quantity": quantity}
                rows.append({**tags, **one._asdict(), "n": seeds})
    return pd.DataFrame(rows)


def loo_table(found: Mapping[str, Truth], best: Chosen, plan: Plan) -> pd.DataFrame:
    """Return rows problem, method, value, se, low, high, n_samples, n_queries, seeds.

    The value is the mean over queries of Spearman over left-out samples. The rows split_half and
    ceiling say what the noise of retraining allows; they are there where there are two seeds.
    """
    rows: list[dict[str, Any]] = []
    for problem, truth in found.items():
        if truth.loo is None:
            continue
        kept = scored_left_out(truth)
        change = changes(truth.loo)[kept]
        samples, seeds, queries = change.shape
        counts = {"n_samples": samples, "n_queries": queries, "seeds": seeds}
        draws = plan.draws(samples, queries, problem, "loo")
        if seeds > 1:
            halves = halvings(seeds, plan.splits, plan.generator("halves", problem, "loo"))
            ends = ceiling(change, halves, draws, plan.level)
            for quantity, one in zip(("split_half", "ceiling"), ends, strict=True):
                rows.append({"problem": problem, "method": quantity, **one._asdict(), **counts})
        mean = change.mean(axis=1)
        predictions = {method: one.loo[kept] for method, one in best.get(problem, {}).items()}
        drawn = resampled(mean, predictions, draws)
        for method, prediction in predictions.items():
            one = interval(lds(mean, prediction), drawn[method], plan.level)
            rows.append({"problem": problem, "method": method, **one._asdict(), **counts})
    return pd.DataFrame(rows)


def removal_tables(found: Mapping[str, Truth], plan: Plan) -> pd.DataFrame:
    """Return rows problem, method, k, value, se, low, high, n."""
    parts = [
        removal_table(
            truth.removal, plan.resamplings, plan.level, plan.generator("removal", problem)
        ).assign(problem=problem)
        for problem, truth in found.items()
        if truth.removal is not None
    ]
    columns = ["problem", "method", "k", "value", "se", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def cost_table(settings: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return what each method's chosen setting costs beside its score at the main α.

    Columns problem, method, label, seconds, megabytes, settings (how many were tried), value, se,
    low, high.
    """
    tried = settings.groupby(["problem", "method"]).size().rename("settings").reset_index()
    best = settings[settings["chosen"]].drop(columns=["value", "chosen", "setting"])
    at = scores[np.isclose(scores["alpha"], MAIN_ALPHA)]
    at = at[["problem", "method", "value", "se", "low", "high"]]
    return best.merge(tried, on=["problem", "method"]).merge(at, on=["problem", "method"])
