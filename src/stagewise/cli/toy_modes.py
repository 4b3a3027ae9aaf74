"""Stage toy_modes: how strongly each mode is learned, against exact solutions.

Three initialisations: aligned and balanced (Saxe's closed form holds), random and balanced
(Fukumizu's matrix solution holds), Gaussian (neither does; the closed form is drawn beside it). The
solutions are of the gradient flow, so what is left is the discretisation: a growth by (1 + x)
where the flow has e^x, x = s_k / tau.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from stagewise.cli.stage import stage
from stagewise.cli.trained import check_converging, tree_and_targets
from stagewise.cli.training_file import checkpoint_steps, signed
from stagewise.config.toy_stages import ModesStage
from stagewise.seeds import generator
from stagewise.storage import netcdf
from stagewise.theory.modes import (
    aligned_balanced_init,
    matrix_solution,
    mode_strength,
    random_balanced_init,
    svd_modes,
)
from stagewise.training.linear_net import (
    constant_weights,
    gaussian_init,
    growing_strengths,
    item_losses,
    mode_strengths,
    train,
)

Array = np.ndarray
Layers = tuple[Array, Array]
_DIMS = ("init", "seed", "mode", "checkpoint")


def toy_modes(settings: ModesStage, out: Path) -> None:
    """Trains from three initialisations and compares the modes with the exact solutions."""
    _, Y = tree_and_targets(settings)
    steps = checkpoint_steps(settings.training)
    found = [
        _compare(settings, Y, steps, start, predict)
        for start, predict in (
            (_aligned, _closed_form),
            (_balanced, _matrix_solution),
            (_gaussian, _closed_form),
        )
    ]
    strength, predicted, initial = (np.stack(part) for part in zip(*found, strict=True))
    s = svd_modes(Y).strengths
    error = np.abs(strength - predicted) / s[:, None]
    dataset = xr.Dataset(
        {
            "strength": (_DIMS, strength),
            "predicted": (_DIMS, predicted),
            "initial_strength": (_DIMS[:3], initial),
            "singular_value": ("mode", s),
            "max_rel_error": ("init", error.max(axis=(1, 2, 3))),
        },
        coords={
            "init": ["aligned", "balanced", "gaussian"],
            "seed": np.arange(settings.training.seeds),
            "mode": np.arange(1, s.size + 1),
            "step": ("checkpoint", np.array(steps)),
        },
    )
    netcdf.write(signed(dataset, "toy_modes", settings, {}), out)


def _compare(
    settings: ModesStage,
    Y: Float[Array, "feature item"],
    steps: list[int],
    start: Callable[[ModesStage, Array, int], Layers],
    predict: Callable[[Array, Array, Layers, list[int], float], Array],
) -> tuple[
    Float[Array, "seed mode checkpoint"],
    Float[Array, "seed mode checkpoint"],
    Float[Array, "seed mode"],
]:
    """Measured and predicted strengths over training, and the measured a_k(0)."""
    training = settings.training
    layers = [start(settings, Y, seed) for seed in range(training.seeds)]
    W1, W2 = (torch.from_numpy(np.stack(layer)) for layer in zip(*layers, strict=True))
    target = torch.from_numpy(Y)
    run = train(
        W1,
        W2,
        target,
        constant_weights(torch.ones(training.seeds, Y.shape[1], dtype=target.dtype)),
        learning_rate=training.learning_rate,
        record_steps=steps,
    )
    check_converging(item_losses(*run, target), training.learning_rate, target)
    left, s, right = svd_modes(Y)
    U, Vt = torch.from_numpy(left[:, : s.size]), torch.from_numpy(right[: s.size])
    initial = growing_strengths(W1, W2, U, Vt).numpy()
    tau = Y.shape[1] / training.learning_rate
    predicted = [predict(Y, a0, own, steps, tau) for a0, own in zip(initial, layers, strict=True)]
    measured = mode_strengths(*run, U, Vt).mT.numpy()
    return measured, np.stack(predicted), initial


def _aligned(settings: ModesStage, Y: Array, seed: int) -> Layers:
    """Every mode at one strength, in hidden directions that differ between seeds."""
    hidden = settings.training.hidden
    W1, W2 = aligned_balanced_init(Y, hidden, settings.modes.aligned_strength)
    rng = generator(settings.seed, "toy", settings.name, "aligned", seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((hidden, hidden)))
    return rotation @ W1, W2 @ rotation.T


def _balanced(settings: ModesStage, Y: Array, seed: int) -> Layers:
    rng = generator(settings.seed, "toy", settings.name, "balanced", seed)
    return random_balanced_init(
        Y.shape, settings.training.hidden, settings.modes.balanced_scale, rng
    )


def _gaussian(settings: ModesStage, Y: Array, seed: int) -> Layers:
    """The initial weights of toy_train."""
    rng = generator(settings.seed, "toy", settings.name, "init", seed)
    W1, W2 = gaussian_init(*Y.shape, settings.training.hidden, settings.training.init_scale, [rng])
    return W1[0].numpy(), W2[0].numpy()


def _closed_form(
    Y: Array, a0: Array, layers: Layers, steps: list[int], tau: float
) -> Float[Array, "mode checkpoint"]:
    s = svd_modes(Y).strengths
    return mode_strength(np.array(steps, dtype=float), s[:, None], a0[:, None], tau)


def _matrix_solution(
    Y: Array, a0: Array, layers: Layers, steps: list[int], tau: float
) -> Float[Array, "mode checkpoint"]:
    left, s, right = svd_modes(Y)
    W1, W2 = layers
    items = Y.shape[1]
    gram = matrix_solution(np.concatenate([W1.T, W2]), Y, np.array(steps, dtype=float), tau)
    modal = left[:, : s.size].T @ gram[:, items:, :items] @ right[: s.size].T
    return np.diagonal(modal, axis1=1, axis2=2).T


main = stage(toy_modes)

if __name__ == "__main__":
    sys.exit(main())
