"""How far the sampled covariance is from its second-order law, entry by entry.

z = (sampled − law)/se over all checkpoints and pairs i ≤ j; se from a jackknife over chains. On the
quadratic model the law is exact, so z is noise; on the network's own loss what is left is the
law's remainder.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from stagewise.config.toy import SamplingSettings
from stagewise.evaluation.curves import (
    RELATIONS,
    Summary,
    bonferroni_bound,
    correlation,
    relation_mean,
    summarize,
)

#: Quantile levels of the drawn distribution of z.
_LEVELS = np.concatenate(
    [[0.0005, 0.001, 0.002, 0.005], np.linspace(0.01, 0.99, 99), [0.995, 0.998, 0.999, 0.9995]]
)


class RowResults(NamedTuple):
    """One sampling row on one tree: its settings, law and sampled influence of every seed."""

    tree: str
    row: str
    settings: SamplingSettings
    relation: np.ndarray
    law: xr.Dataset
    bif: dict[int, xr.Dataset]


def z_scores(results: RowResults) -> Float[np.ndarray, " entry"]:
    """Return z of every pair i ≤ j at every checkpoint where the law exists, all seeds."""
    pieces = []
    for seed, scores in results.bif.items():
        law = results.law.sel(seed=seed)
        upper = np.triu_indices(len(results.relation))
        local = law["local"].values
        difference = _values(scores["value"])[local] - law["second_order"].values[local]
        z = difference / _values(scores["se"])[local]
        pieces.append(z[:, upper[0], upper[1]].ravel())
    return np.concatenate(pieces)


def agreement_rows(results: RowResults) -> pd.DataFrame:
    """Correlation over checkpoints with the law, by relation: mean and error over seeds."""
    rows = []
    z = z_scores(results)
    for relation in RELATIONS:
        r = summarize(_correlations(results, relation))
        rows.append(
            _identity(results)
            | {
                "relation": relation,
                "r": r.value,
                "se": r.se,
                "n": r.n,
                "max_abs_z": _finite_max(z),
                "rms_z": float(np.sqrt(np.mean(z**2))) if z.size else float("nan"),
                "entries": z.size,
                "local_fraction": float(results.law["local"].mean()),
            }
        )
    return pd.DataFrame(rows)


def quantile_rows(results: RowResults) -> pd.DataFrame:
    """Quantiles of z beside those of Student's t with chains − 1 degrees of freedom."""
    from scipy.stats import t

    z = z_scores(results)
    if z.size == 0:
        return pd.DataFrame()
    return pd.DataFrame(
        _identity(results)
        | {
            "quantile": _LEVELS,
            "expected": t.ppf(_LEVELS, results.settings.chains - 1),
            "observed": np.quantile(z, _LEVELS),
        }
    )


def max_z(results: RowResults) -> Summary:
    """Largest |z|, with the number of entries it was looked for in; it has no standard error."""
    z = z_scores(results)
    return Summary(_finite_max(z), float("nan"), z.size)


def noise_bound(results: RowResults) -> float:
    """Bonferroni bound (1% family-wise) that max|z| stays under if only noise is left."""
    return bonferroni_bound(max(z_scores(results).size, 1), results.settings.chains - 1)


def remainder(results: RowResults) -> dict[str, Summary]:
    """Distance from the law over checkpoints, ‖sampled − law‖/‖sampled‖, by relation.

    Sampling noise is part of it. Mean and error over seeds.
    """
    found = {}
    for relation in RELATIONS:
        sizes = []
        for seed, scores in results.bif.items():
            law = results.law.sel(seed=seed)
            local = law["local"].values
            exact = relation_mean(law["second_order"].values, results.relation, relation)[local]
            sampled = scores["relation_value"].sel(relation=relation).values[local]
            sizes.append(np.linalg.norm(sampled - exact) / np.linalg.norm(sampled))
        found[relation] = summarize(sizes)
    return found


def self_excess(one: xr.Dataset, other: xr.Dataset, chains: int) -> Summary:
    """Mean over checkpoints of (one − other)/other of the mean self-covariance of two samplers.

    Checkpoints share their noise, so their errors are not averaged down: the error is the mean of
    those at each checkpoint, which is an upper bound however dependent they are.

    Args:
        one: Scores compared (for example SGLD).
        other: Reference scores (for example MALA) at the same checkpoints.
        chains: Chains that each error rests on.
    """
    a, b = np.abs(one["self_value"].values), np.abs(other["self_value"].values)
    error = a / b * np.hypot(one["self_se"].values / a, other["self_se"].values / b)
    return Summary(float((a / b - 1).mean()), float(error.mean()), chains)


def relation_max_z(one: xr.Dataset, other: xr.Dataset) -> Summary:
    """Largest |z| between two samplers' relation means over relations and checkpoints."""
    gap = one["relation_value"].values - other["relation_value"].values
    z = np.abs(gap) / np.hypot(one["relation_se"].values, other["relation_se"].values)
    return Summary(float(z.max()), float("nan"), z.size)


def _correlations(results: RowResults, relation: str) -> list[float]:
    found = []
    for seed, scores in results.bif.items():
        law = results.law.sel(seed=seed)
        local = law["local"].values
        sampled = relation_mean(_values(scores["value"]), results.relation, relation)
        exact = relation_mean(law["second_order"].values, results.relation, relation)
        found.append(correlation(sampled[local], exact[local]))
    return found


def _values(array: xr.DataArray) -> Float[np.ndarray, "checkpoint sample query"]:
    return array.transpose("checkpoint", "sample", "query").values


def _identity(results: RowResults) -> dict[str, object]:
    settings = results.settings
    return {
        "tree": results.tree,
        "row": results.row,
        "kernel": settings.kernel,
        "potential": settings.potential,
        "loss": settings.loss,
        "n_beta": settings.n_beta,
        "localization": settings.localization,
    }


def _finite_max(z: np.ndarray) -> float:
    return float(np.abs(z).max()) if z.size else float("nan")
