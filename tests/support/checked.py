"""The type checker that the suite puts behind every annotation of the package."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

#: An int may stand where a float is annotated, as everywhere else in Python.
_CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks a function's annotations when it is called.

    A method that is annotated with ``Self`` stays unchecked: it is decorated before its class is
    known.
    """
    try:
        return _CHECKER(function)
    except BeartypeDecorHintPep673Exception:
        return function
