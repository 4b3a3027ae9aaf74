"""Small files of a language experiment with a planted law, made from formulas, never from results.

Losses of induction tokens move together most at a planted checkpoint; those of left and right
delimiters move together early and against each other late.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import expit

from stagewise.config.token_classes import CLASSES
from stagewise.storage import class_gradients, corpus, language_training, trace
from support.traces import ATTRS

LENGTH, RECORDED, HELD = 16, 6, 30
STEPS = np.arange(0, 1200, 100)
MEASURED = np.arange(0, 1200, 25)
CHAINS, DRAWS = 8, 24
LEFT, RIGHT, PART, INDUCTION = (
    CLASSES.index(name) for name in ("left delimiter", "right delimiter", "word part", "induction")
)
#: Classes of the sequences' tokens, in turn.
PATTERN = np.array([LEFT, PART, RIGHT, INDUCTION])


class Files(NamedTuple):
    """Paths of what the stages read."""

    corpus: Path
    training: list[Path]
    traces: dict[int, list[Path]]
    priors: dict[int, list[Path]]
    gradients: dict[int, Path]


def a_corpus() -> xr.Dataset:
    count = RECORDED + HELD
    rng = np.random.default_rng(0)
    classes = np.tile(PATTERN, (count, LENGTH // len(PATTERN)))
    return corpus.from_arrays(
        tokens=rng.integers(4, size=(count, LENGTH + 1)),
        token_class=classes,
        kind=rng.integers(2, size=classes.shape),
        text=["a", " ", "\n", "("],
        train_count=RECORDED,
        source="a test",
        source_sha256="f" * 64,
    )


def loadings(step: np.ndarray, centre: float) -> np.ndarray:
    """How strongly each class's losses follow three directions: (checkpoint, class, direction)."""
    found = np.zeros((len(step), len(CLASSES), 3))
    found[:, INDUCTION, 0] = 0.2 + np.exp(-np.square((step - centre) / 150) / 2)
    found[:, LEFT, 1] = 1.0
    found[:, RIGHT, 1] = np.tanh((600 - step) / 200)
    found[:, PART, 2] = 0.5
    return found


def a_trace(
    centre: float, chains: range, steps: np.ndarray, seed: int, prior: bool = False
) -> xr.Dataset:
    rng = np.random.default_rng([seed, chains.start, int(prior)])
    classes = np.tile(PATTERN, RECORDED * LENGTH // len(PATTERN))
    follow = loadings(steps, centre)[:, classes]
    latent = rng.normal(size=(len(chains), DRAWS, 3))
    noise = rng.normal(scale=0.3, size=(len(steps), len(chains), DRAWS, classes.size))
    losses = np.einsum("kif,cdf->kcdi", follow, latent) * (0.5 if prior else 1.0) + noise
    names = np.repeat([f"train{i:06d}" for i in range(RECORDED)], LENGTH)
    position = np.tile(np.arange(LENGTH), RECORDED)
    draws = losses.shape[:3]
    return trace.from_arrays(
        excess_loss=losses,
        loss_ref=np.ones(losses.shape[::3]),
        train_loss=np.zeros(draws),
        potential=np.zeros(draws),
        distance=np.zeros(draws),
        status=np.zeros(draws[:2], int),
        diverged_step=np.full(draws[:2], -1),
        sample=[f"{name}:{place}" for name, place in zip(names, position, strict=True)],
        step=steps,
        chain=list(chains),
        attrs=ATTRS | ({"n_beta": 0.0} if prior else {}),
        tokens={"sequence": names.astype(object), "position": position},
    )


def gradients(centre: float) -> xr.Dataset:
    rng = np.random.default_rng(1)
    names = [f"train{i:06d}" for i in range(RECORDED)]
    unit = [(name, index) for name in names for index in np.unique(PATTERN)]
    classes = np.array([index for _, index in unit])
    tokens = LENGTH / len(PATTERN)
    each = tokens * loadings(STEPS, centre)[:, classes] + 0.1 * rng.normal(
        size=(len(STEPS), len(unit), 3)
    )
    return class_gradients.from_arrays(
        product=each @ each.swapaxes(-1, -2),
        step=STEPS,
        unit_sequence=[name for name, _ in unit],
        unit_class=classes,
    )


def a_training(run: str, seed: int, centre: float) -> xr.Dataset:
    rng = np.random.default_rng([2, seed])
    shape = (len(MEASURED), HELD, len(CLASSES))
    count = np.zeros((HELD, len(CLASSES)), int)
    count[:, PATTERN] = LENGTH // len(PATTERN)
    chance = np.full(shape, 0.3)
    rising = 0.4 * expit((MEASURED - centre) / 60) + 0.4 * expit((MEASURED - 60) / 10)
    chance[..., INDUCTION] = 0.05 + rising[:, None]
    heads = rng.random((len(MEASURED), 2, 2))
    fall = 3 * np.exp(-MEASURED / 50)[:, None] + rng.random((1, HELD)) / 10
    return xr.Dataset(
        {
            "loss_sum": (("measured", "held", "class"), count * 2.0 * np.ones(shape)),
            "correct": (("measured", "held", "class"), rng.binomial(count, chance).astype(float)),
            "count": (("held", "class"), count),
            "previous_token": (("measured", "layer", "head"), heads),
            "induction_attention": (("measured", "layer", "head"), heads[::-1]),
            "unigram_divergence": (("measured", "held"), fall),
            "bigram_divergence": (("measured", "held"), fall + 0.1),
        },
        coords={
            "measured_step": ("measured", MEASURED),
            "step": ("checkpoint", STEPS),
            "class": ("class", np.array(CLASSES, dtype=object)),
        },
        attrs={
            "run": run,
            "run_seed": seed,
            "model": "a test",
            "parameters": 3,
            "schema": "stagewise.language_training",
            "schema_version": 1,
        },
    )


def write_files(folder: Path, run: str, centres: dict[int, float]) -> Files:
    """Write everything for one run whose seeds learn at these steps; chains come in two blocks."""
    files = Files(folder / "corpus.nc", [], {}, {}, {})
    corpus.write(a_corpus(), files.corpus)
    half = len(STEPS) // 2
    for seed, centre in centres.items():
        path = folder / f"training{seed}.nc"
        language_training.write(a_training(run, seed, centre), path)
        files.training.append(path)
        for kind, paths in (("trace", files.traces), ("prior", files.priors)):
            paths[seed] = []
            for steps in (STEPS[half:], STEPS[:half]):
                for start in (0, CHAINS // 2):
                    block = range(start, start + CHAINS // 2)
                    made = a_trace(centre, block, steps, seed, prior=kind == "prior")
                    paths[seed].append(folder / f"{kind}{seed}_{steps[0]}_{start}.nc")
                    trace.write(made, paths[seed][-1])
        files.gradients[seed] = folder / f"gradients{seed}.nc"
        class_gradients.write(gradients(centre), files.gradients[seed])
    return files
