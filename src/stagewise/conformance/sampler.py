"""What a sampler must offer to be judged: one function, a name and a version.

An adapter in 20 lines stands in docs/conformance.md.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from stagewise.conformance.problem import CONTINUUM, Law, Problem
from stagewise.errors import StagewiseError


class NotApplicable(StagewiseError):
    """A sampler does not do this kind of problem; the table says so, nothing fails."""


@runtime_checkable
class Sampler(Protocol):
    """Runs the chains of a problem.

    Two more attributes are read if they are there: ``law`` (a ``Law``), the stationary law of its
    integrator, against whose discretised values it is then judged where they are known, and the
    continuum's without; ``settings``, what was passed to the library in the last run, for the
    table.
    """

    name: str
    version: str

    def sample(self, problem: Problem, seed: int) -> Float[np.ndarray, "chain draw sample"]:
        """Return l_i(w) of all samples at every draw of every chain.

        ``problem.settings`` says how many chains, steps and draws; every chain starts at
        ``problem.checkpoint``. Losses are those of ``problem.losses(w)`` at each recorded position,
        whatever minibatch drove the step. Equal seeds should give equal losses.

        Raises:
            NotApplicable: The sampler doesn't do this kind of problem.
        """


def law_of(sampler: Sampler) -> Law:
    """Return the law that a sampler says it has; the continuum's if it says nothing."""
    return getattr(sampler, "law", CONTINUUM)


def settings_of(sampler: Sampler) -> Mapping[str, Any]:
    """Return what a sampler says it passed to its library."""
    return dict(getattr(sampler, "settings", {}))
