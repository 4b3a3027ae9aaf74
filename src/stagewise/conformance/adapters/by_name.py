"""The samplers by the names that settings use."""

from stagewise.config.conformance import SamplerName
from stagewise.conformance.adapters.devinterp import DevinterpSampler
from stagewise.conformance.adapters.posteriors import PosteriorsSampler
from stagewise.conformance.adapters.stagewise import StagewiseSampler
from stagewise.conformance.sampler import Sampler


def sampler(name: SamplerName, friction: float) -> Sampler:
    """Return the sampler called ``name``; ``friction`` is that of the ones with momentum.

    Raises:
        ConfigError: If its library is not installed.
    """
    library, _, method = name.partition("_")
    if library == "devinterp":
        return DevinterpSampler(method)
    if library == "posteriors":
        return PosteriorsSampler(method, friction)
    return StagewiseSampler(method, friction)
