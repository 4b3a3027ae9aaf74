"""Stage: the gates. The run stops, and no paper is made, if a trace of the main row fails one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from stagewise.cli.gating import thresholds
from stagewise.cli.stage import stage
from stagewise.config.toy_stages import DiagnosticsStage
from stagewise.errors import DivergenceError
from stagewise.estimators.gates import gate, worst
from stagewise.evaluation.curves import Summary, correlation, summarize
from stagewise.evaluation.records import as_numbers, exact
from stagewise.evaluation.toy_files import by_row, scores_by_row
from stagewise.files import atomic_path
from stagewise.storage.metrics import write_numbers

#: (tree, row), training seed, scores.
Judged = tuple[tuple[str, str], int, xr.Dataset]

_QUANTITIES = (
    "rhat_loss_max",
    "rhat_product_max",
    "ess_product_min",
    "null_max_abs_z",
    "drift_max_z",
)
_COUNTS = ("null_entries", "drift_entries")


def toy_diagnostics(
    settings: DiagnosticsStage, law: list[Path], bif: list[Path], table: Path, numbers: Path
) -> None:
    """Judges every trace of the main row by the thresholds of the config; a failure ends here."""
    scores, laws = scores_by_row(bif), by_row(law)
    traces = [(key, seed, data) for key, seeds in scores.items() for seed, data in seeds.items()]
    counts = {name: sum(int(data[name]) for *_, data in traces) for name in _COUNTS}
    limits = thresholds(settings.diagnostics, **counts)
    failures, rows, warned = [], [], 0
    for (tree, row), seed, data in traces:
        rows.extend(_rows(tree, seed, data, laws[tree, row].sel(seed=seed)))
        findings = gate({name: data[name].values for name in _QUANTITIES}, limits)
        warned += worst(findings) == "warn"
        for name, finding in findings.items():
            if finding.verdict != "pass":
                print(f"{tree} {row} seed {seed}: {finding.verdict}: {finding.message}")
            if finding.verdict == "fail":
                failures.append(f"{tree} {row} seed {seed}: {name}: {finding.message}")
    with atomic_path(table) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    if failures:
        raise DivergenceError("the sampler's gates failed:\n" + "\n".join(failures))
    summaries = _summaries(traces, laws, warned)
    for name in ("null_max_abs_z", "drift_max_z"):
        summaries[f"diagnostics.{name}.bound"] = exact(limits[name].warn)
    write_numbers(as_numbers(summaries, "toy", "toy_diagnostics"), numbers)


def _rows(tree: str, seed: int, data: xr.Dataset, law: xr.Dataset) -> Iterator[dict[str, object]]:
    for name in _QUANTITIES:
        for step, value in zip(data["diagnosed_step"].values, data[name].values, strict=True):
            yield {"tree": tree, "seed": seed, "step": step, "quantity": name, "value": value}
    ratio = float(data.attrs["n_beta"]) / float(data.attrs["localization"])
    negative = ratio * np.maximum(0.0, -law["smallest_eigenvalue"].values)
    for step, value in zip(law["step"].values, negative, strict=True):
        yield {
            "tree": tree,
            "seed": seed,
            "step": step,
            "quantity": "negative_curvature",
            "value": value,
        }
    for name, values in (("llc", data["llc"]), ("llc_se", data["llc_se"]), ("llc_law", law["llc"])):
        for step, value in zip(data["step"].values, values.values, strict=True):
            yield {"tree": tree, "seed": seed, "step": step, "quantity": name, "value": value}


def _summaries(
    traces: list[Judged], laws: dict[tuple[str, str], xr.Dataset], warned: int
) -> dict[str, Summary]:
    """Worst diagnostics over all judged traces, and the learning coefficient against its law."""
    largest = {name: [data[name].values.max() for *_, data in traces] for name in _QUANTITIES}
    smallest = min(float(data["ess_product_min"].min()) for *_, data in traces)
    balanced = [
        (data, laws[key].sel(seed=seed)) for key, seed, data in traces if key[0] == "balanced"
    ]
    agreement = [correlation(data["llc"].values, law["llc"].values) for data, law in balanced]
    final = [float(data["llc"].values[-1]) for data, _ in balanced]
    return {
        "diagnostics.rhat_max.losses": exact(max(largest["rhat_loss_max"]), len(traces)),
        "diagnostics.rhat_max.products": exact(max(largest["rhat_product_max"]), len(traces)),
        "diagnostics.ess_min.products": exact(smallest, len(traces)),
        "diagnostics.null_max_abs_z": exact(max(largest["null_max_abs_z"]), len(traces)),
        "diagnostics.drift_max_z": exact(max(largest["drift_max_z"]), len(traces)),
        "diagnostics.traces_warned": exact(float(np.sum(warned)), len(traces)),
        "diagnostics.chains_dropped": exact(
            float(sum(int(data.attrs["n_chains_dropped"]) for *_, data in traces)), len(traces)
        ),
        "llc_vs_law.r": summarize(agreement),
        "llc.final": summarize(final),
    }


main = stage(toy_diagnostics)

if __name__ == "__main__":
    sys.exit(main())
