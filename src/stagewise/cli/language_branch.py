"""Stage: one arm of the intervention on one seed."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from stagewise.cli.language_model import device, held_tensors
from stagewise.cli.language_train import make_trainer
from stagewise.cli.stage import stage
from stagewise.config.language import BranchStage, TrainStage
from stagewise.errors import ConfigError
from stagewise.files import read_json
from stagewise.provenance import provenance
from stagewise.storage import corpus as corpus_file
from stagewise.storage import language_branch as branch_file
from stagewise.storage import language_training
from stagewise.storage.language_branch import LANGUAGE_BRANCH
from stagewise.training.intervention import first_step, raised_steps, weigh_more
from stagewise.training.language import State, Trainer
from stagewise.training.language_scores import Held, accuracy


def language_branch(
    settings: BranchStage, corpus: Path, training: Path, stages: Path, out: Path
) -> None:
    """Goes on from the state that the training kept, with extra weight inside the arm's window.

    ``--stages`` holds the pilot's transition, which the windows are laid around.
    """
    data, branch = corpus_file.read(corpus), settings.branch
    held = held_tensors(data)
    named = {"seed": settings.seed, "name": settings.name, "run_seed": settings.run_seed}
    whole = TrainStage(
        **named, network=settings.network, training=settings.training, steps=()
    )  # nothing is kept
    trainer = make_trainer(whole, data)
    trainer.load(_state(language_training.read(training), training))
    middle = _middle(read_json(stages)[str(settings.pilot)]["transition"], trainer.step)
    stream = (settings.seed, f"language/{settings.name}", settings.run_seed)
    first = first_step(middle, branch.width, trainer.step)
    steps = raised_steps(settings.arm, first, branch.width, stream)
    last = first + 3 * branch.width + branch.after
    found = _follow(trainer, held, steps, last, settings)
    inputs = {"corpus": corpus, "training": training, "stages": stages}
    record = provenance("language_branch", settings.model_dump(mode="json"), inputs)
    branch_file.write(
        found.assign_attrs(
            schema=LANGUAGE_BRANCH.name,
            schema_version=LANGUAGE_BRANCH.version,
            run=settings.name,
            run_seed=settings.run_seed,
            arm=settings.arm,
            low=int(steps[0]),
            high=int(steps[-1]) + 1,
            extra=branch.extra,
            extra_steps=len(steps),
            provenance=json.dumps(record, sort_keys=True),
        ),
        out,
    )


def _middle(transition: dict, branch: int) -> float:
    """Return the pilot's transition; without one the windows begin at the branch."""
    if transition["step"] is None:
        print("the pilot has no transition: the windows begin at the branch", flush=True)
        return float(branch)
    return float(transition["step"])


def _state(kept: xr.Dataset, path: Path) -> State:
    if "branch_state" not in kept:
        raise ConfigError(
            f"{path} holds no state to branch off from; add its seed to intervention.seeds or "
            "intervention.study_seeds and train again"
        )
    parts = kept["branch_state"].values.astype(np.float32)
    vectors = (torch.from_numpy(one).to(device()) for one in parts)
    return State(int(kept.attrs["branch_step"]), *vectors)


def _follow(
    trainer: Trainer, held: Held, steps: np.ndarray, last: int, settings: BranchStage
) -> xr.Dataset:
    """Train on and measure until the outcome has come and the window is over, or to ``last``."""
    branch, count = settings.branch, held.count()[:, held.repeated]
    weigh = weigh_more(steps, held.repeated, branch.extra)
    found: dict[int, np.ndarray] = {}
    crossed = False
    while True:
        if trainer.step % branch.measure_every == 0:
            found[trainer.step] = accuracy(trainer.model, held).cpu().numpy()
            mean = found[trainer.step].sum() / float(count.sum())
            crossed = crossed or mean > branch.threshold
            print(f"step {trainer.step}: induction accuracy {mean:.3f}", flush=True)
            if (crossed and trainer.step > steps[-1]) or trainer.step >= last:
                break
        trainer.advance(weigh)
    data = {
        "correct": (("measured", "held"), np.stack(list(found.values()))),
        "count": (("held",), count.cpu().numpy()),
    }
    coords = {"step": ("measured", list(found))}
    return xr.Dataset(data, coords=coords, attrs={"finished": int(crossed)})


main = stage(language_branch)

if __name__ == "__main__":
    sys.exit(main())
