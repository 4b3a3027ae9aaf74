"""Stage: how suspicious an attributor finds each training label, some of which were flipped.

By self-influence: a label that nothing else supports has to be learned from its own sample, whose
weight then matters most to its own loss. Of methods for which all samples are equally similar to
themselves, by the mean harm to held-out queries.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from stagewise.baselines.attributor import attribute
from stagewise.baselines.attributors.by_name import ATTRIBUTORS
from stagewise.calibration import settings as calibration_file
from stagewise.calibration.curvature import measure
from stagewise.cli.retraining_chains import sample, varied
from stagewise.cli.retraining_choice import read_choice
from stagewise.cli.retraining_problem import Problem, load_problem, read_trained, signed
from stagewise.cli.stage import stage
from stagewise.config.retraining import MislabelStage
from stagewise.errors import DivergenceError
from stagewise.files import scratch_folder, sha256_file
from stagewise.provenance import loaded_code
from stagewise.storage import mislabel

#: Spread of self-influences over their size, below which they don't tell samples apart.
ALIKE = 1e-6


def retraining_mislabel(
    settings: MislabelStage,
    checkpoints: Path,
    choice: Path,
    calibration: Path,
    scratch: Path,
    out: Path,
) -> None:
    """Scores the network that was trained on flipped labels, in the setting that was chosen."""
    problem, setting = load_problem(settings, "flipped"), read_choice(choice)[settings.method]
    inputs = {"checkpoints": checkpoints, "choice": choice, "calibration": calibration}
    identity = {name: sha256_file(path) for name, path in inputs.items()}
    identity |= {"settings": settings.model_dump(), "code": loaded_code()}
    with scratch_folder(scratch, identity) as folder:
        if settings.method == "bif":
            value, kind = _sampled(settings, problem, setting, checkpoints, calibration, folder)
        else:
            value, kind = _scored(settings, problem, setting, checkpoints, folder)
    dataset = mislabel.from_arrays(
        value=value,
        flipped=problem.flipped,
        sample=problem.samples.ids,
        method=settings.method,
        problem=settings.name,
        attrs={"setting": setting, "detector": kind},
    )
    mislabel.write(signed(dataset, "retraining_mislabel", settings, inputs), out)


def suspicion(
    own: Float[np.ndarray, " sample"], harm: Float[np.ndarray, " sample"]
) -> tuple[Float[np.ndarray, " sample"], str]:
    """Return the self-influences (positive = helps itself), or the harm if they are all alike."""
    if np.ptp(own) > ALIKE * np.abs(own).max(initial=0.0):
        return own, "self_influence"
    return harm, "harm"


def _scored(
    settings: MislabelStage, problem: Problem, setting: int, checkpoints: Path, folder: Path
) -> tuple[np.ndarray, str]:
    both = problem.train.with_data(
        torch.cat([problem.train.inputs, problem.queries.inputs]),
        torch.cat([problem.train.labels, problem.queries.labels]),
    )
    given = read_trained(checkpoints, problem, settings.seed, folder, both)
    attributor = ATTRIBUTORS[settings.method]
    (found,) = attribute(settings.method, attributor, given, [setting])
    samples, value = problem.train.sample_count, found.value.cpu().numpy()
    return suspicion(-np.diagonal(value[:samples]), value[samples:].mean(axis=0))


def _sampled(
    settings: MislabelStage,
    problem: Problem,
    setting: int,
    checkpoints: Path,
    calibration: Path,
    folder: Path,
) -> tuple[np.ndarray, str]:
    """Return the variance of every sample's loss, which is its influence on itself."""
    given = read_trained(checkpoints, problem, settings.seed, folder)
    curvature = measure(problem.train, given.centre[None], seed=settings.seed)
    damping, n_beta = settings.sampled.pairs()[setting]
    # Labels that contradict each other leave directions that curve down: at the damping that suits
    # the clean network there might be no local law.
    damping = max(damping, -2.0 * curvature.smallest)
    found = calibration_file.read(calibration)
    chosen = varied(found, settings.sampled, damping, n_beta, curvature.largest)
    trace = sample(settings, problem, given.centre, chosen, "flipped", folder)
    kept = trace["excess_loss"].values[trace["status"].values == 0].astype(np.float64)
    if len(kept) < 2:
        raise DivergenceError(
            f"{len(kept)} of {chosen.chains} chains stayed finite about the network trained on "
            f"flipped labels at damping {damping:.3g}; raise retraining.sampled.dampings"
        )
    own = kept.var(axis=0, ddof=1).mean(axis=0)
    return suspicion(own, own)


main = stage(retraining_mislabel)

if __name__ == "__main__":
    sys.exit(main())
