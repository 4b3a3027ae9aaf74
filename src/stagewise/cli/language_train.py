"""Stage: one seed's training of a language model, or public checkpoints of one, measured."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import nn

from stagewise.cli.language_model import (
    class_tensor,
    device,
    held_tensors,
    new_model,
    token_tensor,
)
from stagewise.cli.stage import stage
from stagewise.config.language import PretrainedSettings, TrainingSettings, TrainStage
from stagewise.files import scratch_folder, sha256_file
from stagewise.models.neox import flat_weights
from stagewise.models.pretrained import check_revisions, check_vocabulary, load_pretrained
from stagewise.provenance import loaded_code, provenance
from stagewise.sampling.progress import bar
from stagewise.storage import corpus as corpus_file
from stagewise.storage import language_training
from stagewise.storage.language_training import LANGUAGE_TRAINING
from stagewise.training import saved_state
from stagewise.training.language import Recipe, State, Trainer
from stagewise.training.language_scores import Held, score

#: Steps between states that an interrupted training goes on from.
SAVE_EVERY = 200


def language_train(settings: TrainStage, corpus: Path, scratch: Path, out: Path) -> None:
    """Trains, or loads, the checkpoints of one seed and measures what they can do."""
    data = corpus_file.read(corpus)
    held = held_tensors(data)
    if isinstance(settings.network, PretrainedSettings):
        found = _measured(_public(settings.network, settings.steps, data), held)
        label, size = settings.network.model, found.attrs["parameters"]
    else:
        identity = {"settings": settings.model_dump(), "code": loaded_code()}
        with scratch_folder(scratch, identity | {"corpus": sha256_file(corpus)}) as folder:
            found = _trained(settings, data, held, folder)
        label, size = "GPT-NeoX", found.attrs["parameters"]
    record = provenance("language_train", settings.model_dump(mode="json"), {"corpus": corpus})
    found = found.assign_attrs(
        schema=LANGUAGE_TRAINING.name,
        schema_version=LANGUAGE_TRAINING.version,
        run=settings.name,
        run_seed=settings.run_seed,
        model=label,
        parameters=size,
        provenance=json.dumps(record, sort_keys=True),
    ).assign_coords({"class": data["class"].values})
    language_training.write(found, out)


def recipe_of(training: TrainingSettings) -> Recipe:
    """Return the trainer's recipe."""
    return Recipe(
        training.batch_size, training.learning_rate, training.warmup, training.weight_decay
    )


def make_trainer(settings: TrainStage, data: xr.Dataset) -> Trainer:
    """Return the trainer of one seed at step 0."""
    train = corpus_file.training_set(data)
    model = new_model(settings.network, data, settings.seed, settings.run_seed).to(device())
    stream = (settings.seed, f"language/{settings.name}", settings.run_seed)
    recipe = recipe_of(settings.training)
    return Trainer(model, token_tensor(train), class_tensor(train), recipe, stream)


def _trained(settings: TrainStage, data: xr.Dataset, held: Held, folder: Path) -> xr.Dataset:
    """Train and measure; what is kept at a step is what the weights were after so many steps."""
    trainer, training = make_trainer(settings, data), settings.training
    scores: dict[int, dict[str, np.ndarray]] = {}
    weights: dict[int, np.ndarray] = {}
    branch: State | None = None
    path = folder / "state.pt"
    if (kept := saved_state.load(path)) is not None:
        trainer.load(kept["trainer"])
        scores, weights, branch = kept["scores"], kept["weights"], kept["branch"]
    shown = bar(f"{settings.name} seed {settings.run_seed}")
    while True:
        if trainer.step % training.measure_every == 0 and trainer.step not in scores:
            scores[trainer.step] = _arrays(score(trainer.model, held))
        if trainer.step in settings.steps:
            weights[trainer.step] = flat_weights(trainer.model).cpu().numpy().copy()
        if trainer.step == settings.branch_step:
            branch = trainer.state()
        if trainer.step == training.steps:
            break
        if trainer.step % SAVE_EVERY == 0 and trainer.step > 0:
            now = {"trainer": trainer.state(), "branch": branch}
            saved_state.save({**now, "scores": scores, "weights": weights}, path)
        trainer.advance()
        shown(trainer.step, training.steps)
    shown.close()
    rates = [recipe_of(training).rate(max(0, step - 1)) for step in weights]
    found = _dataset(scores, held).assign(
        weights=(("checkpoint", "parameter"), np.stack(list(weights.values()))),
        learning_rate=(("checkpoint",), np.array(rates)),
    )
    size = sum(one.numel() for one in trainer.model.parameters())
    if branch is not None:
        parts = torch.stack([branch.weights, branch.first, branch.second]).cpu().numpy()
        found = found.assign(branch_state=(("part", "parameter"), parts))
        found = found.assign_attrs(branch_step=branch.step)
    found = found.assign_coords(step=("checkpoint", list(weights)))
    return found.assign_attrs(parameters=size)


def _public(
    network: PretrainedSettings, steps: tuple[int, ...], data: xr.Dataset
) -> Iterator[tuple[int, nn.Module]]:
    check_revisions(network.model, steps, network.cache)
    check_vocabulary(network.model, steps[0], data["text"].values.tolist(), network.cache)
    for step in steps:
        yield step, load_pretrained(network.model, step, network.cache).to(device())


def _measured(models: Iterator[tuple[int, nn.Module]], held: Held) -> xr.Dataset:
    """Measure public checkpoints; every one of them is both measured and sampled."""
    scores, size = {}, 0
    for step, model in models:
        scores[step] = _arrays(score(model, held))
        size = sum(one.numel() for one in model.parameters())
        print(f"step {step}: measured", flush=True)
    found = _dataset(scores, held)
    return found.assign_coords(step=("checkpoint", list(scores))).assign_attrs(parameters=size)


def _arrays(scores: dict) -> dict[str, np.ndarray]:
    return {name: one.cpu().numpy() for name, one in scores.items()}


def _dataset(scores: dict[int, dict[str, np.ndarray]], held: Held) -> xr.Dataset:
    known = {**LANGUAGE_TRAINING.variables, **LANGUAGE_TRAINING.optional}
    names = next(iter(scores.values()))
    data = {
        name: (known[name][0], np.stack([one[name] for one in scores.values()])) for name in names
    }
    data["count"] = (("held", "class"), held.count().cpu().numpy())
    return xr.Dataset(data, coords={"measured_step": ("measured", list(scores))})


main = stage(language_train)

if __name__ == "__main__":
    sys.exit(main())
