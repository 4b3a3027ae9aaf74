"""Settings of the loss kernel of an image network: Inception-v1, on glyphs or on a folder.

Units: losses in nats per image; steps are optimiser steps (training) or Langevin steps (sampling).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict
from stagewise.config.toy import DiagnosticsSettings

Seed = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
#: Edge of the small pictures that are stored of a folder's images, pixels.
THUMBNAIL = 32
#: Faces that matplotlib ships with all letters (`stagewise.data.glyph_render.FACES`).
FACE_COUNT = 16


class GlyphSource(Strict):
    """Letters rendered from the faces that matplotlib ships."""

    kind: Literal["glyphs"]
    #: Letters, each a class.
    letters: int = Field(ge=4)
    #: Pairs of letters that look alike, kept as a positive control.
    homoglyph_pairs: int = Field(ge=0)
    #: Faces that the network never sees.
    held_faces: Count
    #: Renderings of each letter in each of the other faces.
    renderings: Count
    #: Renderings of each letter in each held-out face, for the accuracy.
    held_renderings: Count = 1
    #: Edge of an image, pixels.
    size: int = Field(ge=16)

    @model_validator(mode="after")
    def _leaves_a_face(self) -> Self:
        if self.held_faces >= FACE_COUNT:
            raise ValueError(
                f"held_faces is {self.held_faces}; allowed are 1 to {FACE_COUNT - 1}, since of "
                f"{FACE_COUNT} faces one at least is trained on: hold out fewer"
            )
        return self

    def recordable(self) -> int:
        """Held-out images that can be recorded: one of each letter in each held-out face."""
        return (self.letters + self.homoglyph_pairs) * self.held_faces

    def held_out(self) -> int:
        """All held-out images."""
        return self.recordable() * self.held_renderings


class FolderSource(Strict):
    """A tree of images whose folders are named by WordNet ids, such as ImageNet's."""

    kind: Literal["image_folder"]
    #: Folders of the images that chains draw their minibatches from, and of those recorded.
    train: str = Field(min_length=1)
    held: str = Field(min_length=1)
    #: WordNet 3.0's dictionary folder, such as that of Debian's wordnet-base.
    wordnet: str = Field(min_length=1)
    #: Folders that there must be.
    classes: Count = 1000
    #: Images taken of each class of either tree.
    train_per_class: Count
    held_per_class: Count
    #: Edge of the square in the middle that the network reads, pixels.
    size: int = Field(default=224, ge=32)


class VisionTrainingSettings(Strict):
    """SGD with momentum and one cycle of the learning rate."""

    epochs: Count
    batch_size: int = Field(ge=2)
    #: Largest learning rate.
    learning_rate: Positive
    momentum: float = Field(ge=0, lt=1)
    weight_decay: NonNegative
    #: Steps at which weights are kept beside the last, for the development of the kernel.
    checkpoints: tuple[int, ...] = ()


class WeightsSettings(Strict):
    """A network that was trained elsewhere."""

    #: Name of torchvision's weights, such as IMAGENET1K_V1, or a file with a state dict.
    weights: str = Field(min_length=1)
    #: They expect inputs in [-1, 1], as torchvision's do.
    transform_input: bool = True


class KernelSamplingSettings(Strict):
    """Langevin chains about a checkpoint."""

    kernel: Literal["sgld", "underdamped", "baoab"] = "baoab"
    potential: Literal["plain", "recentred"] = "recentred"
    n_beta: NonNegative
    localization: Positive
    step_size: Positive
    friction: float | None = Field(default=None, gt=0, le=1)
    batch_size: Count
    chains: int = Field(ge=4)
    burn_in: int = Field(ge=0)
    draws: int = Field(ge=4)
    spacing: Count = 1
    #: Chains of one job.
    chain_block: Count
    #: Training images, drawn once, that L_n is the mean over; null takes all of them.
    driving: Count | None = None


class WideSettings(Strict):
    """Other settings, at which minibatches heat chains far out; else as the main runs."""

    n_beta: Positive
    localization: Positive
    step_size: Positive


class GridSettings(Strict):
    """Other settings of the sampler, in ``make studies``; the others are those of the main runs."""

    n_beta: tuple[Positive, ...]
    localization: tuple[Positive, ...]
    draws: int = Field(ge=4)


class MislabelSettings(Strict):
    """A second training, with labels flipped, and what finds them."""

    #: Share of the training labels that another class's replaces.
    share: Share
    #: Training images that are judged, a third of them with a flipped label.
    judged: int = Field(ge=4)
    #: Held-out images whose losses the judged images' influence is taken on.
    queries: int = Field(ge=2)
    #: Nearest neighbours whose labels are compared.
    neighbours: Count
    #: Damping δ of EK-FAC, nats per squared unit of weight; null is a tenth of each layer's mean
    #: eigenvalue.
    damping: Positive | None = None
    #: Training images that EK-FAC's factors are fitted on, the judged ones among them.
    factor_images: int = Field(ge=8)


class ImageRunSettings(Strict):
    """One set of images, one network, its kernel, and what both are compared with."""

    source: GlyphSource | FolderSource = Field(discriminator="kind")
    network: VisionTrainingSettings | WeightsSettings
    sampling: KernelSamplingSettings
    #: Sampling seeds; errors are over these.
    seeds: tuple[Seed, ...] = Field(min_length=2)
    #: Held-out images that the kernel is of.
    recorded: int = Field(ge=8)
    #: Checkpoints before the last that chains are sampled about; null takes all that are kept.
    early: tuple[int, ...] | None = None
    #: Draws of a chain about the earlier checkpoints.
    development_draws: int = Field(default=16, ge=4)
    #: A kernel of chains that leave the neighbourhood, of the first sampling seed; null for none.
    wide: WideSettings | None = None
    #: Null where the training labels are not ours to flip.
    mislabel: MislabelSettings | None = None
    #: Other settings of the sampler, in ``make studies``; null for none.
    study: GridSettings | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        trained = isinstance(self.network, VisionTrainingSettings)
        if self.mislabel is not None and not trained:
            raise ValueError("mislabel needs a network that is trained here; set it to null")
        if trained and self.source.kind != "glyphs":
            raise ValueError("networks are trained on glyphs alone; give network.weights")
        kept = self.network.checkpoints if isinstance(self.network, VisionTrainingSettings) else ()
        if unknown := sorted(set(self.early or ()) - set(kept)):
            raise ValueError(f"early names {unknown}; checkpoints are kept at {list(kept)}")
        return self

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        # Of a folder the stage counts them.
        if not isinstance(self.source, GlyphSource):
            return self
        most, faces = self.source.recordable(), self.source.held_faces
        if self.recorded > most or self.recorded % faces:
            raise ValueError(
                f"recorded is {self.recorded}; allowed are multiples of {faces} (held_faces) up to "
                f"{most}, every letter in every held-out face: change it, or take more letters"
            )
        return self

    @model_validator(mode="after")
    def _can_judge(self) -> Self:
        chosen, driving = self.mislabel, self.sampling.driving
        if chosen is None:
            return self
        if driving is not None and driving < chosen.judged:
            raise ValueError(
                f"sampling.driving is {driving}; allowed are {chosen.judged} (mislabel.judged) and "
                "more, since judged images are among those that drive the chains: raise it, or "
                "lower mislabel.judged"
            )
        if isinstance(self.source, GlyphSource) and chosen.queries > self.source.held_out():
            raise ValueError(
                f"mislabel.queries is {chosen.queries}; allowed are 2 to {self.source.held_out()}, "
                "the held-out images: lower it, or raise held_faces or held_renderings"
            )
        return self

    def early_steps(self) -> tuple[int, ...]:
        """Steps of the checkpoints before the last that chains are sampled about."""
        kept = self.network.checkpoints if isinstance(self.network, VisionTrainingSettings) else ()
        return kept if self.early is None else self.early


class VisionSettings(Strict):
    """The loss kernels of image networks."""

    #: Run whose numbers have no name of their own in their keys.
    main: Name
    runs: dict[Name, ImageRunSettings] = Field(min_length=1)
    #: Permutations of the null, and resamplings of classes for errors.
    permutations: int = Field(ge=10)
    #: Of UMAP (McInnes et al. 2018): size of a neighbourhood.
    map_neighbours: int = Field(ge=2)
    diagnostics: DiagnosticsSettings

    @model_validator(mode="after")
    def _has_main(self) -> Self:
        if self.main not in self.runs:
            raise ValueError(f"main is {self.main!r}, which is none of {sorted(self.runs)}")
        return self


class DataStage(Strict):
    """What the stage of the images is told."""

    seed: Seed
    source: GlyphSource | FolderSource = Field(discriminator="kind")
    recorded: int = Field(ge=8)


class VisionTrainStage(Strict):
    """What a training is told."""

    seed: Seed
    #: "clean" or "flipped".
    labels: Literal["clean", "flipped"]
    network: VisionTrainingSettings | WeightsSettings
    #: Of the labels that are flipped; null where none are.
    share: Share | None = None


class VisionSampleStage(Strict):
    """What one block of chains is told."""

    seed: Seed
    name: str
    run_seed: Seed
    sampling: KernelSamplingSettings
    #: Which checkpoint: optimiser steps; null is the last.
    step: int | None
    chain_start: Seed
    #: "held": the kernel of held-out images. "judged": training images, and queries beside them.
    #: "tuning": images that are not scored, to choose settings on.
    recorded: Literal["held", "judged", "tuning"]
    judged: int | None = None
    queries: int | None = None


class KernelStage(Strict):
    """What the stage that estimates a kernel is told."""

    name: str
    diagnostics: DiagnosticsSettings


class SimilarityStage(Strict):
    """What the stage of the other similarities is told."""

    seed: Seed
    #: Checkpoint; null is the last, which has all similarities.
    step: int | None


class DetectorStage(Strict):
    """What the stage of the mislabelled images' detectors is told."""

    seed: Seed
    mislabel: MislabelSettings


class VisionTableStage(Strict):
    """What the tables are told."""

    seed: Seed
    #: Name of the run, and whether its keys leave it out.
    run: Name
    main: bool
    permutations: int


class MapStage(Strict):
    """What the stage of the maps is told."""

    seed: Seed
    neighbours: int


class MislabelStage(Strict):
    """What the tables of mislabelled images are told."""

    seed: Seed
    run: Name
    main: bool
    neighbours: int


class JoinStage(Strict):
    """What the stage that joins tables is told."""

    #: Names of the runs, in the order of the tables.
    runs: tuple[Name, ...]
