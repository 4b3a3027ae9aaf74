"""What an attributor is: given a trained network, a score for every pair of query and sample.

    value(query, sample) ∝ d loss(query) / d weight(sample)

in the sense of the Bayesian influence function: negative where more weight on the sample lowers the
loss of the query, and most negative for a training duplicate of the query. What others call
"positive = helpful" is turned round in the adapter and nowhere else.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from stagewise.errors import ConfigError
from stagewise.models.classifier import ClassifierLoss

#: δ that methods with a damping try, nats per squared unit of weight.
DAMPINGS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)


class Trained(NamedTuple):
    """What an attributor is given.

    Attributes:
        train: Losses of the training samples.
        queries: Losses of the queries, of the same network.
        weights: Of every training on all samples, at every checkpoint; the last checkpoint of the
            first member is the network that is attributed.
        rates: Step length of the training at each checkpoint.
        seed: Root seed of whatever is drawn.
        folder: Scratch folder.
    """

    train: ClassifierLoss
    queries: ClassifierLoss
    weights: Float[Tensor, "member checkpoint parameter"]
    rates: tuple[float, ...]
    seed: int
    folder: Path

    @property
    def centre(self) -> Float[Tensor, " parameter"]:
        """Weights of the network that is attributed."""
        return self.weights[0, -1]


#: Scores of one setting, given its options by name.
Score = Callable[..., Float[Tensor, "query sample"]]


@dataclass(frozen=True)
class Setting:
    """One setting of an attributor.

    Attributes:
        label: In words.
        options: What the attributor's function is called with.
    """

    label: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attributor:
    """An attribution method.

    Attributes:
        prepare: Does what all settings share and returns the function that scores one of them.
        settings: What is tried; every method has as many, so that each has the same chance.
    """

    prepare: Callable[[Trained], Score]
    settings: tuple[Setting, ...]


class Attributed(NamedTuple):
    """One setting's scores.

    Attributes:
        setting: Its place among the attributor's settings.
        label: The setting in words.
        value: Scores, negative = helpful.
        seconds: Wall seconds of what is shared and of this setting: what a user would pay for it.
    """

    setting: int
    label: str
    value: Float[Tensor, "query sample"]
    seconds: float


def attribute(
    name: str, attributor: Attributor, given: Trained, chosen: Sequence[int] | None = None
) -> Iterator[Attributed]:
    """Yield the scores of the settings, all or some of them.

    Args:
        name: What to call the attributor in messages.
        attributor: The method.
        given: What it is given.
        chosen: Places of settings; None is all.

    Raises:
        ConfigError: Scores have another shape than (query, sample), or one is not finite; or there
            is no such setting.
    """
    places = range(len(attributor.settings)) if chosen is None else chosen
    if not set(places) <= set(range(len(attributor.settings))):
        raise ConfigError(
            f"{name} has settings 0 to {len(attributor.settings) - 1}, asked for {list(places)}"
        )
    begun = time.monotonic()
    score = attributor.prepare(given)
    shared = time.monotonic() - begun
    for place in places:
        setting, begun = attributor.settings[place], time.monotonic()
        value = score(**setting.options)
        _check(name, setting.label, value, given)
        seconds = shared + time.monotonic() - begun
        yield Attributed(place, setting.label, value.detach().double(), seconds)


def _check(name: str, label: str, value: Tensor, given: Trained) -> None:
    wanted = (given.queries.sample_count, given.train.sample_count)
    if not isinstance(value, torch.Tensor) or tuple(value.shape) != wanted:
        shape = tuple(getattr(value, "shape", ()))
        raise ConfigError(
            f"attributor {name!r} ({label}) returned scores of shape {shape}; allowed is (query, "
            f"sample) = {wanted}: mend it in baselines/attributors, or leave it out of methods"
        )
    if bad := int((~value.isfinite()).sum()):
        raise ConfigError(
            f"attributor {name!r} ({label}) returned {bad} of {value.numel()} scores that are not "
            "finite; mend it in baselines/attributors, or leave it out of methods"
        )
