"""Stage: one sampling run on one problem, by hand or calibrated, and its influences."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from torch import Tensor

from stagewise.calibration import settings as calibration_file
from stagewise.calibration.pilot import spread
from stagewise.calibration.settings import Calibration
from stagewise.cli.problem import Problem, load_problem, read_checkpoint, signed
from stagewise.cli.stage import stage
from stagewise.config.calibration import RowSettings, RowStage
from stagewise.data.pairs import content_hash
from stagewise.errors import ConfigError
from stagewise.estimators.diagnostics import diagnose
from stagewise.estimators.influence import bif
from stagewise.evaluation.answers import GROUPS, agreement_with
from stagewise.evaluation.calibration import QUANTITIES
from stagewise.files import scratch_folder, sha256_file, sha256_json
from stagewise.models.mlp import MLPLoss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.potential import Potential
from stagewise.sampling.progress import bar
from stagewise.sampling.records import OK, RunResult
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import scores
from stagewise.storage import trace as trace_file

#: One of so many samples is diagnosed: each series takes milliseconds.
DIAGNOSED = 10


def problem_sample(
    settings: RowStage,
    checkpoint: Path,
    exact: Path,
    scratch: Path,
    out: Path,
    calibration: Path | None = None,
) -> None:
    """Samples, resuming where it was interrupted, and compares influences with the exact ones."""
    problem, centre = load_problem(settings.problem, settings.seed), read_checkpoint(checkpoint)
    chosen = _chosen(settings.row, calibration, problem.train.sample_count)
    potential = Potential(
        problem.train,
        centre,
        chosen.n_beta,
        chosen.localization,
        chosen.potential,
        chosen.control_variate,
    )
    streams = NoiseStreams(
        settings.seed,
        f"problem/{settings.name}/{settings.row_name}",
        chosen.chains,
        problem.train.parameter_count,
        batch_size=chosen.batch_size,
        sample_count=problem.train.sample_count,
    )
    identity = {
        "settings": settings.model_dump(),
        "chosen": chosen.settings(),
        "checkpoint": sha256_file(checkpoint),
        "code": loaded_code(),
    }
    with scratch_folder(scratch, identity) as folder:
        result = run(
            chosen.make_kernel(),
            potential,
            streams,
            chosen.schedule(),
            queries=problem.queries,
            scratch=folder,
            progress=bar(settings.row_name),
        )
    trace = _trace(result, problem, chosen, settings, checkpoint)
    answer = scores.read(exact)["value"].values
    kept = int((result.status == OK).sum())
    found = _compared(trace, answer) if kept >= GROUPS else _lost(trace, answer)
    inputs = {"checkpoint": checkpoint, "exact": exact}
    if calibration is not None:
        inputs["calibration"] = calibration
    scores.write(signed(found, "problem_sample", settings, inputs), out)


def _chosen(row: RowSettings, path: Path | None, samples: int) -> Calibration:
    """Return the settings of a row: its own, or the calibration's with the row's budget."""
    if row.calibrated:
        if path is None:
            raise ConfigError("a calibrated row needs --calibration; run problem_calibrate first")
        found = calibration_file.read(path)
        draws = found.draws
        if row.draws is not None:  # as many gradients of samples as a row by hand would take
            budget = _gradients(row, samples) * (row.burn_in + row.draws * row.spacing)
            one = _gradients(found, samples)
            draws = max(8, (budget // one - found.burn_in) // found.spacing)
        return dataclasses.replace(found, chains=row.chains, draws=draws)
    return Calibration(
        **row.model_dump(exclude={"calibrated", "batch_size"}),
        batch_size=row.batch_size or None,
        evidence={},
        table=(),
    )


def _gradients(of: RowSettings | Calibration, samples: int) -> int:
    """Return a step's cost in gradients of single samples: differences take two of each."""
    if not of.batch_size:
        return samples
    return of.batch_size * (2 if of.control_variate or of.potential == "recentred" else 1)


def _trace(
    result: RunResult, problem: Problem, chosen: Calibration, settings: RowStage, checkpoint: Path
) -> xr.Dataset:
    arrays = {
        field.name: getattr(result, field.name)[0]
        for field in dataclasses.fields(result)
        if isinstance(getattr(result, field.name), np.ndarray)
    }
    return trace_file.from_arrays(
        **arrays,
        sample=problem.samples.ids,
        query=problem.asked.ids,
        attrs={
            "n_beta": chosen.n_beta,
            "localization": chosen.localization,
            "step_size": chosen.step_size,
            "friction": chosen.friction or 1.0,
            "kernel": chosen.kernel,
            "potential": chosen.potential,
            "loss": "MLP/cross_entropy",
            "batch_size": chosen.batch_size or 0,
            "n": problem.train.sample_count,
            "seed": settings.seed,
            "experiment": f"problem/{settings.name}/{settings.row_name}",
            "versions": versions(),
            "checkpoint_hash": sha256_file(checkpoint),
            "data_hash": content_hash([*_data(problem.train), *_data(problem.queries)]),
            "settings_hash": sha256_json(settings.model_dump()),
            "wall_seconds": result.wall_seconds,
            "chain_steps": result.chain_steps,
        },
    )


def _data(loss: MLPLoss) -> tuple[Tensor, Tensor]:
    return loss.inputs, loss.labels


def _compared(trace: xr.Dataset, answer: np.ndarray) -> xr.Dataset:
    keep = trace["status"].values == 0
    found = bif(trace)
    measured = diagnose(trace.isel(sample=slice(None, None, DIAGNOSED), query=slice(0, None, 4)))
    compared = agreement_with(
        trace["query_excess_loss"].values[keep], trace["excess_loss"].values[keep], answer
    )
    variance = spread(trace["excess_loss"].values[keep])
    numbers = {
        "spread": variance[0],
        "spread_se": variance[1],
        "agreement": compared.exact.value,
        "agreement_se": compared.exact.se,
        "halves": compared.halves,
        "reliability": compared.reliability,
        "chains_dropped": int((~keep).sum()),
        "wall_seconds": trace.attrs["wall_seconds"],
        "chain_steps": trace.attrs["chain_steps"],
    }
    diagnostics = {f"diagnosed_{name}": array for name, array in measured.data_vars.items()}
    return found.assign(diagnostics).assign_attrs(
        **numbers,
        null_entries=measured.attrs["null_entries"],
        drift_entries=measured.attrs["drift_entries"],
    )


def _lost(trace: xr.Dataset, answer: np.ndarray) -> xr.Dataset:
    """Say of a run that lost its chains that it agrees with nothing; no gate lets it pass.

    Unstable settings belong to a sweep by hand, which they should not end.
    """
    nothing = ("agreement", "halves", "reliability")
    return scores.from_arrays(
        value=np.zeros_like(answer),
        se=np.zeros_like(answer),
        query=trace["query"].values,
        sample=trace["sample"].values,
        method="bif",
        attrs={
            **trace.attrs,
            **dict.fromkeys(nothing, 0),
            **dict.fromkeys(("null_entries", "drift_entries"), 1),  # undefined, each of them
            **dict.fromkeys(("agreement_se", "spread", "spread_se"), np.nan),
            "n_chains": trace.sizes["chain"],
            "n_draws": trace.sizes["draw"],
            "chains_dropped": int((trace["status"].values != OK).sum()),
        },
    ).assign({f"diagnosed_{name}": np.nan for name in QUANTITIES})


main = stage(problem_sample)

if __name__ == "__main__":
    sys.exit(main())
