"""The loss kernel of an image network as numbers of the paper."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.estimators.gates import familywise_z
from stagewise.evaluation.alignment import spearman
from stagewise.evaluation.curves import Summary, summarize
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.vision import Layout
from stagewise.evaluation.vision_tables import KERNEL, PRIOR, WIDE, Sources

SOURCE = "vision_tables"
#: Rate at which the bounds of the null and of the drift are passed by chance.
RATE = 0.05
Found = dict[str, tuple[Summary, str]]


def run_numbers(
    tables: Mapping[str, pd.DataFrame],
    kernels: Sequence[xr.Dataset],
    found: Sources,
    training: xr.Dataset,
    of: Layout,
    prefix: str,
) -> dict[str, dict[str, Any]]:
    """Return the entries of one run."""
    numbers: Found = {}
    numbers |= _accuracy(training, of)
    numbers |= _alignment(tables["vision_alignment"])
    numbers |= _relations(tables["vision_relations"])
    numbers |= _leads(tables["vision_leads"])
    numbers |= _depths(tables["vision_depths"])
    numbers |= _draws(tables["vision_draws"])
    numbers |= _early(tables["vision_early"])
    numbers |= _agreement(found)
    numbers |= _checks(kernels)
    entries: dict[str, dict[str, Any]] = {}
    for key, (summary, unit) in numbers.items():
        entries |= as_numbers({key: summary}, prefix, SOURCE, unit)
    return entries


def _accuracy(training: xr.Dataset, of: Layout) -> Found:
    last = training.isel(checkpoint=-1)
    accuracy = Summary(float(last["held_accuracy"]), float(last["held_accuracy_se"]), 0)
    return {
        "accuracy.heldout": (accuracy, ""),
        "loss.heldout": (exact(float(last["held_loss"])), "nats"),
        "parameters": (exact(int(training.attrs["parameters"])), ""),
        "images": (exact(len(of.ids)), ""),
        "classes": (exact(len(of.classes)), ""),
    }


def _word(name: str) -> str:
    return name.replace(" ", "_")


def _over_seeds(rows: pd.DataFrame) -> Summary:
    """Mean over sampling seeds; of a method without them, with its error over classes."""
    if len(rows) > 1:
        return summarize(rows["value"].to_numpy())
    error = float(rows["se"].iloc[0]) if "se" in rows else float("nan")
    return Summary(float(rows["value"].iloc[0]), error, 1)


def _alignment(table: pd.DataFrame) -> Found:
    found: Found = {}
    for (measure, tree, scope, method), rows in table.groupby(
        ["measure", "tree", "scope", "method"], sort=False
    ):
        name = "" if tree == "wu_palmer" else f".{tree}"
        name += "" if scope == "all" else f".{scope}"
        key = f"alignment.{measure}{name}.{method}"
        found[key] = (_over_seeds(rows), "")
        found[f"{key}_null"] = (summarize(rows["null"].to_numpy()), "")
        found[f"{key}_p"] = (exact(float(rows["p"].max())), "")
        if measure == "spearman":
            # What another choice of classes would change, beside the sampling.
            found[f"{key}_class_se"] = (exact(float(rows["se"].mean())), "")
    return found


def _relations(table: pd.DataFrame) -> Found:
    found: Found = {}
    for (relation, method), rows in table.groupby(["relation", "method"], sort=False):
        key = f"auroc.{_word(str(relation))}.{method}"
        found[key] = (_over_seeds(rows), "")
        if method == KERNEL:
            # What another choice of classes would change, beside the sampling.
            found[f"{key}.class_se"] = (exact(float(rows["se"].mean())), "")
            found[f"pairs.{_word(str(relation))}"] = (exact(int(rows["positives"].iloc[0])), "")
    return found


def _leads(table: pd.DataFrame) -> Found:
    return {
        f"lead.{_word(row.quantity.replace(',', ''))}.{row.method}": (
            Summary(float(row.value), float(row.se), 0),
            "",
        )
        for row in table.itertuples(index=False)
    }


def _depths(table: pd.DataFrame) -> Found:
    found: Found = {}
    for (measure, depth, method), rows in table.groupby(["measure", "depth", "method"], sort=False):
        key = f"{measure}.depth{depth}.{method}"
        found[key] = (_over_seeds(rows), "")
        found[f"{key}_class_se"] = (exact(float(rows["se"].mean())), "")
        found[f"{measure}.depth{depth}.{method}_null"] = (
            summarize(rows["null"].to_numpy()),
            "",
        )
    return found


def _draws(table: pd.DataFrame) -> Found:
    found: Found = {}
    pooled = table[table["seed"].isna()]
    for relation, value, draws in pooled[["relation", "value", "draws"]].itertuples(index=False):
        found[f"pooled.auroc.{_word(relation)}"] = (exact(float(value)), "")
        found["pooled.draws"] = (exact(int(draws)), "")
    one = table.dropna(subset=["seed"])
    least = one[one["draws"] == one["draws"].min()]
    most = one[one["draws"] == one["draws"].max()]
    for name, rows in (("least", least), ("most", most)):
        found[f"draws.{name}"] = (exact(int(rows["draws"].iloc[0])), "")
        for relation, group in rows.groupby("relation", sort=False):
            key = f"draws.{name}.auroc.{_word(str(relation))}"
            found[key] = (summarize(group["value"].to_numpy()), "")
    return found


def _early(table: pd.DataFrame) -> Found:
    found: Found = {}
    steps = sorted(set(table["step"]))
    for name, step in (("first", steps[0]), ("last", steps[-1])):
        found[f"early.{name}.step"] = (exact(int(step)), "steps")
        rows = table[table["step"] == step]
        for relation, method, value, se in rows[["relation", "method", "value", "se"]].itertuples(
            index=False
        ):
            key = f"early.{name}.{_word(relation)}.{method}"
            found[key] = (Summary(float(value), float(se), 1), "")
    return found


def _agreement(found: Sources) -> Found:
    """Rank correlations of the kernel with other similarities, over all pairs of images."""
    kernels = list(found.main.values())
    others = {**found.others, **found.baselines}
    between = [
        spearman(one, other) for place, one in enumerate(kernels) for other in kernels[place + 1 :]
    ]
    made: Found = {"agreement.seeds": (summarize(np.array(between)), "")}
    for name, value in others.items():
        each = [spearman(one, value) for one in kernels]
        made[f"agreement.{name}"] = (summarize(np.array(each)), "")
    return made


def _checks(kernels: Sequence[xr.Dataset]) -> Found:
    """Diagnostics of the main runs, of all kernels together, and of the others by name."""
    main = [one for one in kernels if str(one.attrs["name"]).startswith("main_")]
    spread = [float(np.median(one["se"].values)) for one in main]
    found = _diagnostics(main)
    found |= {f"kernels.{key}": one for key, one in _diagnostics(kernels).items()}
    for one in kernels:
        name = str(one.attrs["name"])
        if name in (WIDE, PRIOR) or name.startswith("early_"):
            found[f"{name}.mean_excess"] = (exact(float(one.attrs["mean_excess"])), "nats")
            found[f"{name}.rhat.max"] = (exact(float(one.attrs["rhat_loss_max"])), "")
    return found | {
        "mean_excess": (summarize([float(one.attrs["mean_excess"]) for one in main]), "nats"),
        "correlation.se": (summarize(spread), ""),
        "draws_per_seed": (exact(int(main[0].attrs["draws"]) * int(main[0].attrs["chains"])), ""),
    }


def _diagnostics(kernels: Sequence[xr.Dataset]) -> Found:
    """The worst of some kernels, with the bounds of the largest of so many z-scores."""
    null = sum(int(one.attrs["null_entries"]) for one in kernels)
    drift = sum(int(one.attrs["drift_entries"]) for one in kernels)

    def over(name: str, best: Any) -> tuple[Summary, str]:
        return exact(float(best([float(one.attrs[name]) for one in kernels]))), ""

    return {
        "null.max_abs_z": over("null_max_abs_z", max),
        "null.bound": (exact(familywise_z(null, RATE)), ""),
        "drift.max_z": over("drift_max_z", max),
        "drift.bound": (exact(familywise_z(drift, RATE, 1)), ""),
        "rhat.max": over("rhat_loss_max", max),
        "effective_draws.min": over("ess_product_min", min),
        "chains_dropped": over("chains_dropped", sum),
        "zero_variance": over("n_zero_variance", max),
    }
