"""The two-task experiment as tables and numbers: separation, coupling by batches, exact law."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.evaluation.curves import Summary, summarize
from stagewise.evaluation.multitask import (
    Pairs,
    agreement,
    bound,
    cross_deviates,
    largest,
    over_seeds,
    pairs_of,
    plane,
    separation,
)
from stagewise.evaluation.records import exact

#: Fractions whose kernels are drawn, as far as they were sampled.
DRAWN = (0.0, 0.5, 1.0)
ACCURACIES = ("train_accuracy", "test_accuracy")


def pairs_in(kernel: xr.Dataset) -> Pairs:
    """Return the pairs of a kernel's samples."""
    return pairs_of(*(kernel[name].values for name in ("task", "a", "b", "answer")))


def separation_table(kernels: Sequence[xr.Dataset], training: xr.Dataset) -> pd.DataFrame:
    """Return separation and accuracy of every fraction and seed, one quantity a row."""
    rows = []
    for kernel in kernels:
        pairs, seed = pairs_in(kernel), int(kernel.attrs["run_seed"])
        trained = training.sel(seed=seed)
        for place, shared in enumerate(kernel["shared"].values):
            found = separation(kernel["correlation"].values[place], pairs)
            found["rise"] = float(kernel["rise"].values[place])
            own = trained.isel(fraction=int(np.argmin(np.abs(trained["shared"].values - shared))))
            found |= {name: float(own[name].mean()) for name in (*ACCURACIES, "train_loss")}
            rows += [(float(shared), seed, name, value) for name, value in found.items()]
    return pd.DataFrame(rows, columns=["shared", "seed", "quantity", "value"])


def kernel_table(kernel: xr.Dataset) -> pd.DataFrame:
    """Return the correlations of one seed at the drawn fractions, entry by entry."""
    parts = []
    for place, shared in _drawn(kernel):
        value = kernel["correlation"].values[place]
        row, column = (index.ravel() for index in np.indices(value.shape))
        parts.append(
            pd.DataFrame(
                {"shared": shared, "row": row, "column": column, "value": value.ravel().round(5)}
            )
        )
    return pd.concat(parts, ignore_index=True)


def map_table(kernel: xr.Dataset) -> pd.DataFrame:
    """Return where classical scaling of 1 - R puts the samples of one seed."""
    parts = []
    for place, shared in _drawn(kernel):
        x, y = plane(kernel["correlation"].values[place]).T
        own = {name: kernel[name].values for name in ("sample", "task", "answer")}
        parts.append(pd.DataFrame({"shared": shared, **own, "x": x, "y": y}))
    return pd.concat(parts, ignore_index=True)


def _drawn(kernel: xr.Dataset) -> list[tuple[int, float]]:
    shared = kernel["shared"].values.tolist()
    return [(shared.index(one), one) for one in DRAWN if one in shared]


def coupling_table(kernels: Mapping[str, Sequence[xr.Dataset]]) -> pd.DataFrame:
    """Return the mean correlation across tasks of every seed, by kind of batch, nothing shared."""
    rows = [
        (kind, int(one.attrs["run_seed"]), separation(one["correlation"].values[0], pairs_in(one)))
        for kind, of_kind in kernels.items()
        for one in of_kind
    ]
    return pd.DataFrame(
        [(kind, seed, found["cross"]) for kind, seed, found in rows],
        columns=["batches", "seed", "value"],
    )


def separation_numbers(kernels: Sequence[xr.Dataset], training: xr.Dataset) -> dict[str, Summary]:
    """Return means over seeds by fraction, and the largest deviate of the pairs across tasks."""
    table, numbers = separation_table(kernels, training), {}
    chains = min(int(one.attrs["chains"]) for one in kernels)
    for place, shared in enumerate(kernels[0]["shared"].values):
        own = table[table["shared"] == shared]
        name = f"shared_{round(100 * float(shared))}"
        by_seed = [
            dict(zip(x["quantity"], x["value"], strict=True)) for _, x in own.groupby("seed")
        ]
        found = over_seeds(by_seed)
        numbers |= {f"{quantity}.{name}": one for quantity, one in found.items()}
        z = np.concatenate([_deviates(kernel, place) for kernel in kernels])
        numbers[f"cross_task.z.{name}"] = largest(z)
        if shared == 0.0:
            numbers |= {"cross_task.z": largest(z), "cross_task.bound": bound(z.size, chains)}
            numbers["cross_task.rms_z"] = exact(np.sqrt(np.mean(z**2)), z.size)
        if shared == 0.5:
            numbers["auroc"] = found["auroc"]
    return numbers | _by_task(training)


def _deviates(kernel: xr.Dataset, place: int) -> np.ndarray:
    value, se = (kernel[name].values[place] for name in ("covariance", "covariance_se"))
    return cross_deviates(value, se, pairs_in(kernel))


def _by_task(training: xr.Dataset) -> dict[str, Summary]:
    """Return the accuracy of each task over seeds at every fraction."""
    return {
        f"{quantity}.{operation}.shared_{round(100 * float(shared))}": summarize(
            training[quantity].values[place, :, task]
        )
        for quantity in ACCURACIES
        for task, operation in enumerate(training["operation"].values)
        for place, shared in enumerate(training["shared"].values)
    }


def law_numbers(kernels: Sequence[xr.Dataset]) -> dict[str, Summary]:
    """Return how far the regressions' sampled covariance is from its law."""
    same = kernels[0]["task"].values[:, None] == kernels[0]["task"].values
    names = ("covariance", "covariance_se", "law")
    found = [agreement(*(one[name].values[0] for name in names), same) for one in kernels]
    z = np.concatenate([one.deviates for one in found])
    chains = min(int(one.attrs["chains"]) for one in kernels)
    across = np.concatenate([_deviates(one, 0) for one in kernels])
    return {
        "law.max_abs_z": largest(z),
        "law.bound": bound(z.size, chains),
        "law.rms_z": exact(np.sqrt(np.mean(z**2)), z.size),
        "law.relative_error": summarize([one.relative_error for one in found]),
        "law.cross_task": exact(max(one.cross_law for one in found)),
        "law.cross_task.z": largest(across),
    }


def coupling_numbers(kernels: Mapping[str, Sequence[xr.Dataset]]) -> dict[str, Summary]:
    """Return the mean correlation across tasks over seeds, and the deviates' size, by batches."""
    numbers, table = {}, coupling_table(kernels)
    for kind, of_kind in kernels.items():
        numbers[f"coupling.{kind}"] = summarize(table[table["batches"] == kind]["value"].to_numpy())
        z = np.concatenate([_deviates(one, 0) for one in of_kind])
        numbers[f"coupling.{kind}.z"] = largest(z)
        numbers[f"coupling.{kind}.rms_z"] = exact(np.sqrt(np.mean(z**2)), z.size)
        chains = min(int(one.attrs["chains"]) for one in of_kind)
        numbers["coupling.bound"] = bound(z.size, chains)
    return numbers
