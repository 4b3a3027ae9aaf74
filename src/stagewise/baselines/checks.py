"""Checks of what the baselines are given, and of what they find."""

from torch import Tensor

from stagewise.errors import ConfigError


def check_labels(inputs: Tensor, labels: Tensor) -> None:
    """Refuse labels that do not fit the inputs.

    Raises:
        ConfigError: They are not one, 0 or more, for each of at least one input.
    """
    if not len(inputs) or len(inputs) != len(labels) or int(labels.min()) < 0:
        raise ConfigError(
            f"{len(inputs)} inputs and {len(labels)} labels; pass one label, 0 or more, for each "
            "of at least one input"
        )


def positive(value: int, what: str) -> int:
    """Return a count.

    Raises:
        ConfigError: It is less than 1.
    """
    if value < 1:
        raise ConfigError(f"{what} is {value}; it must be 1 or more")
    return value


def finite(values: Tensor, what: str) -> Tensor:
    """Return values (sample, ...).

    Raises:
        ConfigError: One is not finite.
    """
    if not values.isfinite().all():
        wrong = int((~values.isfinite()).any(tuple(range(1, values.ndim))).sum())
        raise ConfigError(
            f"{what} of {wrong} of {len(values)} samples are not finite; look for such weights or "
            "inputs: a diverged training, an image that was not scaled"
        )
    return values
