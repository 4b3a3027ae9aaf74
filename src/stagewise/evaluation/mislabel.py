"""Flipped labels found by what is known of training images, and who influences whom.

A detector gives each judged image a number that should be larger where the label was flipped.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata, spearmanr

from stagewise.errors import SchemaError
from stagewise.estimators.gates import familywise_z
from stagewise.evaluation.curves import Summary, summarize
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.vision_numbers import RATE

SOURCE = "vision_mislabel"
RESAMPLINGS = 200
#: Queries that are shown, and their most helpful and most harmful images.
SHOWN, HELPFUL, HARMFUL = 5, 5, 3
#: An influence counts as resolved beyond so many standard errors.
RESOLVED = 2.0


class Judged(NamedTuple):
    """What is known of the judged images.

    Attributes:
        measured: The detectors' file.
        correlation: Loss kernel of the judged images (sample, partner), and their variances.
        variance: Nats².
        influence: Influence of judged images on the queries, and standard errors.
        pixels: Pictures of judged images and of queries, by id.
        attrs: Attributes of the kernel's file, its diagnostics among them.
    """

    measured: xr.Dataset
    correlation: Float[np.ndarray, "sample sample"]
    variance: Float[np.ndarray, " sample"]
    influence: xr.Dataset
    pixels: Mapping[str, str]
    attrs: Mapping[str, Any]


def check(judged: Judged) -> None:
    """Check that all are of the same images.

    Raises:
        SchemaError: They are not.
    """
    same = judged.measured["sample"].values.tolist() == judged.influence["sample"].values.tolist()
    same &= judged.measured["query"].values.tolist() == judged.influence["query"].values.tolist()
    if not same or len(judged.correlation) != judged.measured.sizes["sample"]:
        raise SchemaError(
            "detectors and influences are of other images; run vision_detectors and vision_sample "
            "again"
        )


def detectors(
    judged: Judged, neighbours: int, rng: np.random.Generator
) -> dict[str, Float[np.ndarray, " sample"]]:
    """Return every detector's values; neighbours by symmetric noise are the null of the others."""
    measured = judged.measured
    given = measured["given"].values
    found = {name: measured[name].values for name in ("loss", "el2n", "self_gradient")}
    features = measured["penultimate"].values
    noise = rng.normal(size=features.shape)
    return found | {
        "kernel_variance": judged.variance,
        "kernel_neighbours": disagreement(judged.correlation, given, neighbours),
        "penultimate_neighbours": disagreement(features, given, neighbours),
        "random_neighbours": disagreement(noise + noise.T, given, neighbours),
        "cross_influence": judged.influence["value"].values.mean(axis=0),
        "ekfac": measured["ekfac"].values.mean(axis=0),
    }


def disagreement(
    similarity: Float[np.ndarray, "sample sample"], given: Int[np.ndarray, " sample"], count: int
) -> Float[np.ndarray, " sample"]:
    """Return the share of an image's nearest ``count`` whose label is another than its own."""
    apart = similarity.astype(np.float64).copy()
    np.fill_diagonal(apart, -np.inf)
    near = np.argsort(-apart, axis=1, kind="stable")[:, :count]
    return (given[near] != given[:, None]).mean(axis=1)


def detection(
    value: Float[np.ndarray, " sample"], flipped: Bool[np.ndarray, " sample"], rng: Any
) -> Summary:
    """Return the area under the ROC curve, with a bootstrap error over images; ties count half."""
    drawn = []
    for _ in range(RESAMPLINGS):
        chosen = rng.integers(0, len(value), len(value))
        if 0 < flipped[chosen].sum() < len(chosen):
            drawn.append(_area(value[chosen], flipped[chosen]))
    return Summary(_area(value, flipped), float(np.std(drawn, ddof=1)), len(value))


def _area(value: np.ndarray, positive: np.ndarray) -> float:
    count = int(positive.sum())
    total = rankdata(value)[positive].sum()
    return float((total - count * (count + 1) / 2) / (count * (len(value) - count)))


def detector_table(judged: Judged, neighbours: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return rows detector, value, se, n."""
    flipped = judged.measured["flipped"].values.astype(bool)
    rows = []
    for name, value in detectors(judged, neighbours, rng).items():
        found = detection(value, flipped, rng)
        rows.append({"detector": name, "value": found.value, "se": found.se, "n": found.n})
    return pd.DataFrame(rows)


def influence_table(judged: Judged) -> pd.DataFrame:
    """Return the most helpful and most harmful judged images of a few queries, by both methods."""
    measured = judged.measured
    methods = {"bif": judged.influence["value"].values, "ekfac": measured["ekfac"].values}
    z = _z(judged)
    rows = []
    for query in range(min(SHOWN, measured.sizes["query"])):
        for method, value in methods.items():
            other = methods["ekfac" if method == "bif" else "bif"][query]
            order = np.argsort(value[query], kind="stable")
            for side, chosen in (("helps", order[:HELPFUL]), ("harms", order[::-1][:HARMFUL])):
                for rank, sample in enumerate(chosen, start=1):
                    resolved = abs(z[query, sample]) > RESOLVED
                    opposed = np.sign(value[query, sample]) != np.sign(other[sample])
                    rows.append(
                        {
                            "method": method,
                            "query": str(measured["query"].values[query]),
                            "side": side,
                            "rank": rank,
                            "sample": str(measured["sample"].values[sample]),
                            "value": float(value[query, sample]),
                            "conflict": bool(resolved and opposed),
                            "flipped": bool(measured["flipped"].values[sample]),
                        }
                    )
    table = pd.DataFrame(rows)
    table["pixels"] = table["sample"].map(judged.pixels)
    table["query_pixels"] = table["query"].map(judged.pixels)
    return table


def _z(judged: Judged) -> np.ndarray:
    value, se = judged.influence["value"].values, judged.influence["se"].values
    return np.divide(value, se, out=np.zeros_like(value), where=se > 0)


def mislabel_numbers(judged: Judged, table: pd.DataFrame, prefix: str) -> dict[str, dict[str, Any]]:
    """Return the entries: detectors, how influences agree, and the judged kernel's own checks.

    Rank correlations of influences are means over queries, n of them, each of another class as long
    as there are classes; their errors are over queries too.
    """
    summaries = {
        f"mislabel.auroc.{row.detector}": Summary(row.value, row.se, int(row.n))
        for row in table.itertuples(index=False)
    }
    flipped = judged.measured["flipped"].values.astype(bool)
    value = judged.influence["value"].values
    for name in ("ekfac", "gradient"):
        other = judged.measured[name].values
        each = [float(spearmanr(a, b).statistic) for a, b in zip(value, other, strict=True)]
        summaries[f"influence.spearman.{name}"] = summarize(np.array(each))
    resolved = np.abs(_z(judged)) > RESOLVED
    opposed = np.sign(value) != np.sign(judged.measured["ekfac"].values)
    summaries["influence.resolved"] = exact(float(resolved.mean()))
    # If one factor moved all losses, nearly all influences would be of one sign.
    summaries["influence.helpful"] = exact(float((value < 0).mean()))
    summaries["influence.ekfac_helpful"] = exact(
        float((judged.measured["ekfac"].values < 0).mean())
    )
    conflicts = float(opposed[resolved].mean()) if resolved.any() else float("nan")
    summaries["influence.conflicts"] = exact(conflicts)
    summaries["influence.ekfac_seconds"] = exact(float(judged.measured.attrs["ekfac_seconds"]))
    summaries["mislabel.judged"] = exact(len(flipped))
    summaries["mislabel.flipped"] = exact(int(flipped.sum()))
    summaries["mislabel.classes"] = exact(len(np.unique(judged.measured["given"].values)))
    excess = {"mislabel.mean_excess": exact(float(judged.attrs["mean_excess"]))}
    return {
        **as_numbers(summaries | _checks(judged.attrs), prefix, SOURCE),
        **as_numbers(excess, prefix, SOURCE, "nats"),
    }


def _checks(attrs: Mapping[str, Any]) -> dict[str, Summary]:
    """Diagnostics of the judged kernel, as those of the other kernels are recorded."""
    return {
        "mislabel.rhat.max": exact(float(attrs["rhat_loss_max"])),
        "mislabel.effective_draws.min": exact(float(attrs["ess_product_min"])),
        "mislabel.chains_dropped": exact(int(attrs["chains_dropped"])),
        "mislabel.drift.max_z": exact(float(attrs["drift_max_z"])),
        "mislabel.drift.bound": exact(familywise_z(int(attrs["drift_entries"]), RATE, 1)),
    }
