"""The samples that help and harm one query most, with errors."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.errors import ConfigError

#: Names that are shown of many.
SHOWN = 5


class Ranking(NamedTuple):
    """Samples ordered by their influence on one query.

    Attributes:
        helpful: Most helpful first: ``sample``, ``helps`` (minus the score, positive), ``se``.
        harmful: Most harmful first; ``helps`` is negative.
        noise: Share of all samples whose score is within two standard errors of 0.
        step: Optimiser step of the checkpoint; None where there is one checkpoint only.
    """

    helpful: pd.DataFrame
    harmful: pd.DataFrame
    noise: float
    step: int | None


def ranked(scores: xr.Dataset, item: str, top: int, step: int | None = None) -> Ranking:
    """Rank the samples by their influence on a query.

    Scores are d(query loss)/d(weight of sample), so a helpful sample's is negative; ``helps`` is
    minus the score, as in figures.

    Args:
        scores: Scores ([checkpoint,] query, sample).
        item: Id of the query.
        top: Samples of each list, at most; a list holds samples of its own sign only.
        step: Optimiser step of the checkpoint; the last by default.

    Raises:
        ConfigError: There is no such query or checkpoint; the message names near ones.
    """
    if top < 1:
        raise ConfigError(f"top is {top}; allowed are 1 and more")
    queries = scores["query"].values.tolist()
    if item not in queries:
        raise ConfigError(_no_query(item, queries, scores["sample"].values.tolist()))
    found, at = _checkpoint(scores, step)
    extra = [name for name in found["value"].dims if name not in ("query", "sample")]
    if extra:
        raise ConfigError(f"scores have the dimension(s) {extra}; choose one of each first")
    one = found[["value", "se"]].isel(query=queries.index(item))
    table = pd.DataFrame(
        {
            "sample": scores["sample"].values,
            "helps": -one["value"].values,
            "se": one["se"].values,
        }
    ).sort_values("helps", kind="stable", ascending=False)
    noise = float(np.mean(np.abs(table["helps"]) <= 2 * table["se"]))
    helpful = table[table["helps"] > 0].head(top)
    harmful = table[table["helps"] < 0].iloc[::-1].head(top)
    return Ranking(helpful.reset_index(drop=True), harmful.reset_index(drop=True), noise, at)


def _checkpoint(scores: xr.Dataset, step: int | None) -> tuple[xr.Dataset, int | None]:
    if "checkpoint" not in scores["value"].dims:
        if step is not None:
            raise ConfigError(f"these scores are of one checkpoint: leave out step {step}")
        return scores, None
    steps = scores["step"].values.tolist()
    if step is None:
        return scores.isel(checkpoint=-1), int(steps[-1])
    if step not in steps:
        near = sorted(steps, key=lambda other: abs(other - step))[:SHOWN]
        raise ConfigError(
            f"no checkpoint is of step {step}; the nearest are {', '.join(map(str, sorted(near)))}"
        )
    return scores.isel(checkpoint=steps.index(step)), step


def near_names(item: str, names: Sequence[str]) -> list[str]:
    """Return a few names that are like one: parts of it count, letters' case does not."""
    lower = {name.lower(): name for name in reversed(names)}
    close = get_close_matches(item.lower(), lower, n=SHOWN, cutoff=0.5)
    holding = [name for name in lower if item.lower() in name and name not in close]
    return [lower[name] for name in [*close, *sorted(holding)][:SHOWN]]


def _no_query(item: str, queries: Sequence[str], samples: Sequence[str]) -> str:
    near = near_names(item, queries)
    if near:
        return f"no query is called {item!r}; near it are {', '.join(near)}"
    also = " (it is a sample, whose influence is known, but not asked about)"
    return (
        f"no query is called {item!r}{also if item in samples else ''}; there are {len(queries)}, "
        f"such as {', '.join(queries[:SHOWN])}"
    )
