"""Settings of the scaling study: what BIF and EK-FAC cost against the size of a language model."""

from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, Positive, Strict

Method = Literal["bif", "ekfac"]


class SizeSettings(Strict):
    """Shape of a GPT-NeoX model of random weights, as Pythia's (arXiv:2304.01373)."""

    layers: Count
    width: Count
    heads: Count
    #: Rows of the embeddings.
    vocabulary: Count


class ProtocolSettings(Strict):
    """What both methods are asked for: influence of N sequences on Q queries."""

    #: Training sequences N.
    train: Count
    #: Queries Q, sequences too.
    queries: Count
    #: Tokens that are predicted in each.
    length: Count
    #: Sequences of a pass that records or fits factors.
    at_once: Count
    #: Chains; one at a time, so that memory does not grow with them.
    chains: Count
    burn_in: Count
    #: Draws per chain, one a step.
    draws: Count
    #: Sequences of a minibatch.
    batch: Count
    n_beta: Positive
    #: Per squared unit of weight.
    localization: Positive
    #: Squared units of weight.
    step_size: Positive
    #: Queries whose gradients EK-FAC holds at once; each batch is a pass over the N sequences.
    query_batch: Count


class MeasureSettings(Strict):
    """How much of the protocol is run; the rest follows from what its parts cost."""

    #: Steps without a draw, the first of which is not timed, and steps with one.
    steps: int = Field(ge=2)
    draws: Count


class DataAxis(Strict):
    """Cost against the number of training sequences, at one size."""

    size: Name
    train: tuple[Count, ...] = Field(min_length=2)


class ScalingSettings(Strict):
    """The study on one kind of device."""

    protocol: ProtocolSettings
    measure: MeasureSettings
    shapes: dict[Name, SizeSettings] = Field(min_length=3)
    #: Sizes that are measured, from small to large.
    sizes: tuple[Name, ...] = Field(min_length=3)
    #: Sizes at which the whole protocol is run, to check what is put together from parts.
    whole: dict[Method, tuple[Name, ...]] = {}
    data: DataAxis
    #: A crossing counts if the exponents differ by so many standard errors...
    crossing_errors: Positive
    #: ...and if it lies within so many decades of the sizes that were measured.
    crossing_decades: Positive

    @model_validator(mode="after")
    def _known(self) -> Self:
        named = {
            *self.sizes,
            self.data.size,
            *(one for some in self.whole.values() for one in some),
        }
        unknown = sorted(named - set(self.shapes))
        if unknown:
            raise ValueError(f"no shapes are called {unknown}; there are {list(self.shapes)}")
        return self


class ScalingJob(Strict):
    """One measurement: a method at one size and number of training sequences."""

    #: Root of the named seed tree.
    seed: int = Field(ge=0)
    method: Method
    size: Name
    shape: SizeSettings
    protocol: ProtocolSettings
    measure: MeasureSettings
    #: Run the whole protocol instead.
    whole: bool = False


def jobs(settings: ScalingSettings, seed: int) -> dict[str, ScalingJob]:
    """Return every measurement by its name: method and size, then what is special about it."""
    found: dict[str, ScalingJob] = {}
    base = {"seed": seed, "protocol": settings.protocol, "measure": settings.measure}

    def add(name: str, method: Method, size: str, **more: Any) -> None:
        shape = settings.shapes[size]
        job = {**base, "method": method, "size": size, "shape": shape, **more}
        found[f"{method}_{size}{name}"] = ScalingJob(**job)

    for size in settings.sizes:
        for method in get_args(Method):
            add("", method, size)
    for train in settings.data.train:
        protocol = settings.protocol.model_copy(update={"train": train})
        for method in get_args(Method):
            add(f"_n{train}", method, settings.data.size, protocol=protocol)
    for method, sizes in settings.whole.items():
        for size in sizes:
            add("_whole", method, size, whole=True)
    return found
