"""Problems with two phases or several layers: exact by quadrature of the whole law."""

import numpy as np
import torch
from torch import Tensor

from stagewise.conformance.problem import Check, Law, Losses, Problem, Settings, row_tensor
from stagewise.theory.mixture import DoubleWell, exact_covariance, sgld_covariance
from stagewise.theory.singular import Moments, box_moments

Array = np.ndarray


def deep_linear() -> Problem:
    """Return a linear network of three layers with one unit each, at a trained checkpoint.

    y = w_3 w_2 w_1 x, l = 1/2 (y_i - y)^2. The law of three weights is integrated on a grid: no
    Gaussian approximation is made, and the losses are of sixth order in the weights.
    """
    rows = np.array([[1.0, 1.3], [-0.8, -0.9], [0.6, 0.5], [-1.2, -1.0], [0.4, 0.7]])
    x, y = rows[:, 0], rows[:, 1]
    slope = (x @ y) / (x @ x)
    checkpoint = np.full(3, np.cbrt(slope))
    settings = Settings(n_beta=10.0, localization=10.0, step_size=2.5e-3, burn_in=220, spacing=3)

    def product_losses(product: Array) -> Array:
        return 0.5 * np.square(y - product[:, None] * x)

    at_checkpoint = product_losses(np.array([slope]))[0]

    def potential(w: Array) -> Array:
        pull = np.square(w - checkpoint).sum(axis=1)
        return (
            settings.n_beta * product_losses(w.prod(axis=1)).mean(axis=1)
            + settings.localization / 2 * pull
        )

    def moments() -> Moments:
        reach = [7.0 / np.sqrt(settings.localization)] * 3
        return box_moments(
            potential,
            lambda w: product_losses(w.prod(axis=1)) - at_checkpoint,
            checkpoint.tolist(),
            reach,
            61,
        )

    found = moments()

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        return 0.5 * (rows[:, 1] - w[0] * w[1] * w[2] * rows[:, 0]).square()

    checks = (
        Check("mean", "mean", lambda law: found.mean if law.name == "continuum" else None),
        Check(
            "covariance",
            "covariance",
            lambda law: found.covariance if law.name == "continuum" else None,
        ),
    )
    start = torch.from_numpy(checkpoint.astype(np.float32))
    title = "deep linear network, three layers"
    return Problem("deep_linear", title, loss, row_tensor(rows), start, settings, checks)


def double_well() -> Problem:
    """Return the double well with a low barrier: covariance and mass of the right phase."""
    control = 0.15
    well = DoubleWell(n_beta=8.0, localization=0.5, barrier=0.2)
    slopes = well.sample_slopes(control)
    settings = Settings(
        n_beta=well.n_beta, localization=well.localization, step_size=0.03, burn_in=220, spacing=4
    )

    def loss(w: Tensor, rows: Tensor) -> Tensor:
        return well.barrier * (w[0].square() - 1.0).square() + rows[:, 0] * w[0]

    def covariance(law: Law) -> Array | None:
        if law.name == "continuum":
            return exact_covariance(control, well).total
        if law.name == "sgld":
            return sgld_covariance(control, settings.step_size, well).total
        return None

    def mass(law: Law) -> Array | None:
        if law.name == "continuum":
            return np.atleast_1d(exact_covariance(control, well).mass)
        if law.name == "sgld":
            return np.atleast_1d(sgld_covariance(control, settings.step_size, well).mass)
        return None

    def on_the_right(losses: Losses) -> Array:
        # Two losses that differ only in slope differ by slope times w.
        return (losses[..., :1] > losses[..., 2:3]).astype(np.float64)

    checks = (
        Check("mass", "mean", mass, on_the_right),
        Check("covariance", "covariance", covariance),
    )
    rows = row_tensor(slopes[:, None])
    title = "double well"
    return Problem("double_well", title, loss, rows, torch.zeros(1), settings, checks)
