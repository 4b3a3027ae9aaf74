"""Checks of the numbers that enter the closed forms: the message says what to change."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["check_gradients", "check_nonnegative", "check_positive"]


def check_positive(name: str, value: ArrayLike) -> None:
    """Require every entry of ``value`` to be finite and above zero.

    Args:
        name: What the message calls the value.
        value: A number or an array.

    Raises:
        ValueError: If an entry is not finite or not above zero.
    """
    array = np.asarray(value, dtype=np.float64)
    wrong = ~(np.isfinite(array) & (array > 0))
    if wrong.any():
        raise ValueError(f"{name} = {array[wrong].flat[0]:g}: it must be finite and above 0")


def check_nonnegative(name: str, value: ArrayLike) -> None:
    """Require every entry of ``value`` to be finite and at least zero.

    Args:
        name: What the message calls the value.
        value: A number or an array.

    Raises:
        ValueError: If an entry is not finite or is below zero.
    """
    array = np.asarray(value, dtype=np.float64)
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        raise ValueError(f"{name} = {array[wrong].flat[0]:g}: it must be finite and at least 0")


def check_gradients(gradients: np.ndarray, hessians: np.ndarray) -> None:
    """Require per-sample gradients (n, P) and Hessians (n, P, P) of one size.

    Args:
        gradients: Gradients of the n losses.
        hessians: Hessians of the n losses.

    Raises:
        ValueError: If the shapes do not belong together.
    """
    samples, parameters = gradients.shape if gradients.ndim == 2 else (-1, -1)
    if samples < 1 or hessians.shape != (samples, parameters, parameters):
        raise ValueError(
            f"gradients have shape {gradients.shape} and hessians {hessians.shape}: they must be"
            " (n, P) and (n, P, P); pass one gradient row and one Hessian per sample"
        )
