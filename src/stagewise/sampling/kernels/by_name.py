"""The kernels by the names that settings use."""

from typing import Literal, get_args

from stagewise.errors import ConfigError
from stagewise.sampling.kernels import baoab, mala, rmsprop_sgld, sgld, underdamped

Name = Literal["sgld", "underdamped", "baoab", "rmsprop_sgld", "mala"]
State = sgld.State | underdamped.State | baoab.State | rmsprop_sgld.State | mala.State
Info = sgld.Info | underdamped.Info | baoab.Info | rmsprop_sgld.Info | mala.Info
Kernel = sgld.Kernel | underdamped.Kernel | baoab.Kernel | rmsprop_sgld.Kernel | mala.Kernel

#: Kernels with a velocity.
WITH_FRICTION: tuple[Name, ...] = ("underdamped", "baoab")


def make(
    name: Name,
    step_size: float,
    *,
    friction: float | None = None,
    adapt_steps: int | None = None,
) -> Kernel:
    """Return the kernel called ``name``.

    Args:
        name: "sgld", "underdamped", "baoab", "rmsprop_sgld" or "mala".
        step_size: e > 0.
        friction: f in (0, 1], of "underdamped" and "baoab" only.
        adapt_steps: Of "rmsprop_sgld" only: steps until V is frozen, None to adapt for ever.

    Raises:
        ConfigError: If the name is unknown, a number is out of range, or friction is missing or
            given to a kernel that has none.
    """
    if name not in get_args(Name):
        raise ConfigError(f"kernel {name!r}; choose one of {list(get_args(Name))}")
    if (friction is not None) != (name in WITH_FRICTION):
        raise ConfigError(
            f"kernel {name!r} with friction {friction!r}; 'underdamped' and 'baoab' need a "
            "friction in (0, 1] and the others take none"
        )
    if friction is not None:
        module = underdamped if name == "underdamped" else baoab
        return module.Kernel(step_size, friction)
    if name == "rmsprop_sgld":
        return rmsprop_sgld.Kernel(step_size, adapt_steps)
    return sgld.Kernel(step_size) if name == "sgld" else mala.Kernel(step_size)
