"""Settings of what is retrained: sources of samples, and networks."""

from typing import Literal

from pydantic import Field

from stagewise.config.base import Count, NonNegative, Positive, Strict
from stagewise.config.language import DocumentFiles, NetworkSettings, PretrainedSettings

#: Networks by what they can be trained on.
NETWORKS = {
    "digits": ("mlp", "conv"),
    "cifar10": ("resnet9",),
    "docstrings": ("neox",),
    "documents": ("pretrained",),
}
#: Networks that read documents.
LANGUAGE = ("neox", "pretrained")


class MlpNetwork(Strict):
    """A multilayer perceptron with tanh."""

    kind: Literal["mlp"]
    #: Units of the hidden layers; none makes it softmax regression.
    hidden: tuple[Count, ...]


class ConvNetwork(Strict):
    """Convolutions of 3 x 3 with stride 2 and tanh, then a linear layer."""

    kind: Literal["conv"]
    #: Of each convolution.
    channels: tuple[Count, ...] = Field(min_length=1)


class ResNet9Network(Strict):
    """ResNet-9 with GroupNorm, for colour images; see ``stagewise.models.resnet9``."""

    kind: Literal["resnet9"]
    #: Channels of the first, second, third and last convolution.
    widths: tuple[Count, Count, Count, Count] = (64, 128, 256, 128)


class DigitsSource(Strict):
    """Handwritten digits that scikit-learn ships."""

    kind: Literal["digits"] = "digits"


class Cifar10Source(Strict):
    """CIFAR-10 in its authors' files."""

    kind: Literal["cifar10"]
    #: Folder that holds ``cifar-10-batches-py``.
    folder: str


class DocstringSource(Strict):
    """Short documents: the beginnings of an installed package's docstrings, in characters."""

    kind: Literal["docstrings"]
    #: Package whose docstrings are the documents.
    package: str
    #: Characters that are predicted in each.
    length: int = Field(ge=4)
    #: Package whose docstrings the network has read before.
    pretraining: str


class PiecesSource(DocumentFiles):
    """Pieces of local or public documents, in the tokens of a public model."""

    #: Tokens that are predicted in each.
    length: int = Field(ge=4)


class PretrainingSettings(Strict):
    """AdamW before the retraining; warms up, then stays."""

    steps: Count
    batch_size: Count
    learning_rate: Positive
    warmup: Count
    weight_decay: NonNegative


class NeoxNetwork(NetworkSettings):
    """A GPT-NeoX model that is pretrained here; retraining starts from its weights."""

    kind: Literal["neox"]
    pretraining: PretrainingSettings


class PublicNetwork(PretrainedSettings):
    """A public GPT-NeoX model; retraining starts from its weights."""

    #: Optimiser step of the checkpoint.
    step: int = Field(ge=0)
