"""Two linear regressions with weights of their own: quadratic losses, whose covariance is exact.

l_i(w) = 1/2 (y_i - w . z_i)^2 with z_i = (x_i, 0) for the first task and (0, x_i) for the second,
x one-hot operands and y the answer, scaled. The checkpoint is w* = 0, which is no minimum, so that
gradients do not cancel there: they are -y_i z_i, and the Hessians z_i z_i^T.
"""

import numpy as np
from jaxtyping import Float, Int

from stagewise.theory.quadratic import quadratic_loss_covariance, sgld_law


def features(inputs: Float[np.ndarray, "sample input"]) -> Float[np.ndarray, "sample parameter"]:
    """Return z_i; the last two inputs are the one-hot task."""
    x, task = inputs[:, :-2], inputs[:, -2:]
    return (task[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def targets(labels: Int[np.ndarray, " sample"], modulus: int) -> Float[np.ndarray, " sample"]:
    """Return y_i, the answers scaled to lie between 0 and 1."""
    return labels / (modulus - 1)


def regression_law(
    z: Float[np.ndarray, "sample parameter"],
    y: Float[np.ndarray, " sample"],
    recorded: Int[np.ndarray, " recorded"],
    n_beta: float,
    localization: float,
    step_size: float,
) -> Float[np.ndarray, "recorded recorded"]:
    """Return the covariance of the recorded losses in the chain that is run, nats².

    Args:
        z: Features of all samples.
        y: Their targets.
        recorded: Places of the recorded ones.
        n_beta: nβ.
        localization: γ.
        step_size: ε of full-gradient SGLD.
    """
    z = z.astype(np.float64)
    gradients = -y[:, None] * z
    hessians = z[:, :, None] * z[:, None, :]
    law = sgld_law(gradients.mean(axis=0), hessians.mean(axis=0), n_beta, localization, step_size)
    return quadratic_loss_covariance(gradients[recorded], hessians[recorded], law)
