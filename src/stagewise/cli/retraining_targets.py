"""Stage: retrain one problem's network on one set of subsets, or on a block of them."""

import sys
from pathlib import Path

import numpy as np

from stagewise.cli.retraining_problem import load_problem, signed
from stagewise.cli.retraining_runs import Job, run_set
from stagewise.cli.stage import stage
from stagewise.config.retraining import SetSettings, TargetStage
from stagewise.data.subsets import random_subsets, without
from stagewise.errors import ConfigError
from stagewise.seeds import generator
from stagewise.storage import netcdf, targets


def retraining_targets(
    settings: TargetStage,
    scratch: Path,
    out: Path,
    models: Path,
    checkpoints: Path | None = None,
) -> None:
    """Draws the subsets and retrains, resuming where it was interrupted."""
    chosen = settings.problem.sets[settings.set_name]
    labels = load_problem(settings).samples.labels
    masks, first = _masks(chosen, labels, settings), settings.start or 0
    own = masks if settings.block is None else masks[first : first + settings.block]
    if not len(own):
        raise ConfigError(
            f"{settings.set_name} of {settings.name} has {len(masks)} subsets, the job begins at "
            f"number {first}; allowed are 0 to {len(masks) - 1}"
        )
    job = Job(settings.set_name, chosen.role, chosen.alpha, own, chosen.seeds, first)
    found, kept = run_set(settings, job, scratch, {}, checkpoints)
    netcdf.write(kept, models)
    inputs = {} if checkpoints is None else {"checkpoints": checkpoints}
    targets.write(signed(found, "retraining_targets", settings, inputs), out)


def _masks(chosen: SetSettings, labels: np.ndarray, settings: TargetStage) -> np.ndarray:
    names = ("retraining", settings.name, chosen.role)
    if chosen.role == "loo":
        some = generator(settings.seed, *names).permutation(len(labels))[: chosen.subsets]
        return without(len(labels), [[], *([int(one)] for one in np.sort(some))])
    # Scored and tuning subsets, and those of each α, are of streams of their own.
    percent = round(100 * chosen.alpha)
    return random_subsets(labels, chosen.alpha, chosen.subsets, settings.seed, *names, percent)


main = stage(retraining_targets)

if __name__ == "__main__":
    sys.exit(main())
