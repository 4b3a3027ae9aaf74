"""Stage: one setting of the Bayesian influence functions: covariance and correlation."""

import sys
from pathlib import Path

import xarray as xr

from stagewise.calibration import settings as calibration_file
from stagewise.cli.retraining_attribute import peak_memory_mb
from stagewise.cli.retraining_chains import described, sample, varied
from stagewise.cli.retraining_problem import load_problem, read_trained, signed
from stagewise.cli.stage import stage
from stagewise.config.retraining import SAMPLED, SampleStage
from stagewise.estimators.influence import bif, posterior_correlation
from stagewise.files import scratch_folder, sha256_file
from stagewise.provenance import loaded_code
from stagewise.storage import scores


def retraining_sample(
    settings: SampleStage, checkpoints: Path, calibration: Path, scratch: Path, out: list[Path]
) -> None:
    """Samples, resuming where it was interrupted, and writes both forms of the influence."""
    problem, found = load_problem(settings), calibration_file.read(calibration)
    chosen = varied(found, settings.sampled, *settings.sampled.pairs()[settings.setting])
    given = read_trained(checkpoints, problem, settings.seed, scratch)
    identity = {
        "settings": settings.model_dump(),
        "chosen": chosen.settings(),
        "checkpoints": sha256_file(checkpoints),
        "code": loaded_code(),
    }
    name = f"setting_{settings.setting}"
    with scratch_folder(scratch, identity) as folder:
        trace = sample(settings, problem, given.centre, chosen, name, folder)
    attrs = {
        "setting": settings.setting,
        "setting_label": described(settings.sampled, settings.setting),
        # A user would pay for the pilots as well.
        "seconds": trace.attrs["wall_seconds"] + float(found.evidence["seconds_spent"] or 0.0),
        "peak_memory_mb": peak_memory_mb(),
        "chains_dropped": int((trace["status"].values != 0).sum()),
    }
    inputs = {"checkpoints": checkpoints, "calibration": calibration}
    for path, method in zip(out, SAMPLED, strict=True):
        dataset = _influence(method, trace).assign_attrs(attrs)
        scores.write(signed(dataset, "retraining_sample", settings, inputs), path)


def _influence(method: str, trace: xr.Dataset) -> xr.Dataset:
    if method == "bif":
        return bif(trace)
    found = posterior_correlation(trace)
    return scores.from_arrays(
        # The sign of a similarity is turned round: negative = helpful.
        value=-found["correlation"].values,
        se=found["correlation_se"].values,
        query=found["query"].values,
        sample=found["sample"].values,
        method=method,
        attrs=found.attrs,
    )


main = stage(retraining_sample)

if __name__ == "__main__":
    sys.exit(main())
