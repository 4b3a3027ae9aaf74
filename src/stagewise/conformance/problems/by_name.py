"""The problems by the names that settings use."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from stagewise.conformance.problem import Problem
from stagewise.conformance.problems import nets, quadratics, singular
from stagewise.errors import ConfigError

PROBLEMS: Mapping[str, Callable[[], Problem]] = MappingProxyType(
    {
        "gaussian": quadratics.gaussian,
        "gaussian_off_minimum": quadratics.gaussian_off_minimum,
        "linear_regression": quadratics.linear_regression,
        "linear_regression_minibatch": quadratics.linear_regression_minibatch,
        "damped_influence": quadratics.damped_influence,
        "normal_crossing": singular.normal_crossing,
        "normal_crossing_uneven": singular.normal_crossing_uneven,
        "reduced_rank": singular.reduced_rank,
        "deep_linear": nets.deep_linear,
        "double_well": nets.double_well,
    }
)


def problem(name: str) -> Problem:
    """Return the problem called ``name``.

    Raises:
        ConfigError: If there is none; the message lists them.
    """
    if name not in PROBLEMS:
        raise ConfigError(f"problem {name!r}; choose from {', '.join(PROBLEMS)}")
    return PROBLEMS[name]()
