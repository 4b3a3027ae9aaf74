"""Stage: what the Bayesian influence predicts of retraining, at many settings of the sampler."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from stagewise.baselines.attributor import Trained
from stagewise.calibration import settings as calibration_file
from stagewise.calibration.calibrate import STABLE
from stagewise.calibration.curvature import Curvature, measure
from stagewise.calibration.settings import Calibration
from stagewise.cli.retraining_chains import sample, varied
from stagewise.cli.retraining_problem import Problem, load_problem, read_trained, signed
from stagewise.cli.stage import stage
from stagewise.config.retraining_study import CALIBRATED, Cell, HandSettings
from stagewise.config.retraining_study_stages import SensitivityStage
from stagewise.errors import DivergenceError
from stagewise.estimators.influence import bif
from stagewise.evaluation.lds import predicted
from stagewise.files import scratch_folder, sha256_file
from stagewise.provenance import loaded_code
from stagewise.sampling.kernels.by_name import WITH_FRICTION
from stagewise.storage import netcdf
from stagewise.storage import targets as targets_file
from stagewise.storage.predictions import PREDICTIONS


class Sampled(NamedTuple):
    """What the chains of one cell gave; see `PREDICTIONS`."""

    prediction: np.ndarray
    seconds: float
    seconds_all: float
    passes: float
    damping: float
    dropped: int


def retraining_sensitivity(
    settings: SensitivityStage,
    checkpoints: Path,
    calibration: Path,
    targets: Path,
    scratch: Path,
    out: Path,
) -> None:
    """Samples cell by cell, resuming where it was interrupted, and keeps what each predicts."""
    problem, found = load_problem(settings), calibration_file.read(calibration)
    given = read_trained(checkpoints, problem, settings.seed, scratch)
    truth, rows = targets_file.read(targets), []
    base = {"settings": settings.model_dump(exclude={"cells"}), "code": loaded_code()}
    base |= {"checkpoints": sha256_file(checkpoints), "calibration": sha256_file(calibration)}
    for cell in settings.cells:
        with scratch_folder(scratch, {**base, "cell": cell.model_dump()}) as folder:
            rows.append(_cell(settings, problem, given, found, cell, truth, folder))
        print(f"{cell.name}: {rows[-1].seconds:.1f} s, {rows[-1].dropped} dropped", flush=True)
    columns = {name: np.array([getattr(one, name) for one in rows]) for name in Sampled._fields}
    made = xr.Dataset(
        {
            name: (("cell", "subset", "query") if name == "prediction" else "cell", values)
            for name, values in columns.items()
        },
        coords={"cell": [cell.name for cell in settings.cells]},
        attrs={"schema": PREDICTIONS.name, "schema_version": PREDICTIONS.version},
    )
    inputs = {"checkpoints": checkpoints, "calibration": calibration, "targets": targets}
    made = signed(made, "retraining_sensitivity", settings, inputs)
    PREDICTIONS.validate(made)
    netcdf.write(made, out)


def _cell(
    settings: SensitivityStage,
    problem: Problem,
    given: Trained,
    found: Calibration,
    cell: Cell,
    truth: xr.Dataset,
    folder: Path,
) -> Sampled:
    centre = given.weights[0, cell.checkpoint]
    curvature = None
    if cell.axis == "checkpoints":
        curvature = measure(problem.train, centre[None], seed=settings.seed)
    chosen = chosen_of(settings, found, cell, curvature)
    trace = sample(settings, problem, centre, chosen, cell.name, folder)
    dropped = int((trace["status"].values != 0).sum())
    try:
        prediction = predicted(bif(trace), truth)
    except DivergenceError:
        prediction = np.full((truth.sizes["subset"], truth.sizes["query"]), np.nan)
    seconds, batch = float(trace.attrs["wall_seconds"]), chosen.batch_size
    pairs = 1 + chosen.control_variate
    gradients = 1.0 if batch is None else pairs * batch / truth.sizes["sample"]
    steps = chosen.burn_in + chosen.draws * chosen.spacing
    return Sampled(
        prediction,
        seconds,
        seconds + float(found.evidence["seconds_spent"] or 0.0),
        # A recorded draw is a forward pass, a third of a gradient.
        chosen.chains * (steps * gradients + chosen.draws / 3),
        chosen.localization / chosen.n_beta,
        dropped,
    )


def chosen_of(
    settings: SensitivityStage, found: Calibration, cell: Cell, curvature: Curvature | None = None
) -> Calibration:
    """Return a cell's settings of the sampler.

    Burn-in and spacing stay those of the calibrated step whatever the step and the kernel, so that
    cells that differ in these take as many gradients; other kernels get the same share of the
    step that is stable for them.

    Args:
        settings: The study.
        found: The calibration.
        cell: The cell.
        curvature: Of the checkpoint that is sampled; None is the calibrated one's.
    """
    if cell.settings != CALIBRATED:
        return _by_hand(found, cell, settings.by_hand[cell.settings])
    # At early checkpoints, where the loss curves down, a small damping would leave no local law.
    least = -2.0 * curvature.smallest if curvature else 0.0
    largest = curvature.largest if curvature else None
    budget = settings.sampled.model_copy(update={"chains": cell.chains, "draws": cell.draws})
    base = varied(found, budget, max(cell.damping, least), cell.n_beta, largest)
    step_size = base.step_size * cell.step * STABLE[cell.kernel] / STABLE[found.kernel]
    rate = math.sqrt(0.5 * step_size * base.localization)
    moves = cell.kernel in WITH_FRICTION
    return dataclasses.replace(
        base,
        kernel=cell.kernel,
        step_size=step_size,
        friction=-math.expm1(-2.0 * rate) if moves else None,
        **_gradient(cell),
    )


def _by_hand(found: Calibration, cell: Cell, hand: HandSettings) -> Calibration:
    return dataclasses.replace(
        found,
        kernel=hand.kernel,
        step_size=hand.step_size,
        friction=hand.friction,
        n_beta=hand.n_beta,
        localization=hand.localization,
        chains=cell.chains,
        burn_in=hand.burn_in,
        draws=cell.draws,
        spacing=hand.spacing,
        **_gradient(cell),
    )


def _gradient(cell: Cell) -> dict[str, str | bool | int | None]:
    return {
        "potential": cell.potential,
        "control_variate": cell.control_variate,
        "batch_size": cell.batch_size or None,
    }


main = stage(retraining_sensitivity)

if __name__ == "__main__":
    sys.exit(main())
