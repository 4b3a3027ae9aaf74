"""Settings of the language experiments: small GPT-NeoX models, or public checkpoints of large ones.

Units: losses in nats per token; steps are optimiser steps (training) or Langevin steps (sampling).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict
from stagewise.config.toy import DiagnosticsSettings

Seed = Annotated[int, Field(ge=0)]
Step = Annotated[int, Field(ge=0)]


class _Sequences(Strict):
    """How much text there is, whatever its kind."""

    #: Tokens of a sequence that a model reads; one more is predicted at its end.
    length: int = Field(ge=4)
    #: Sequences of the training set; chains draw their minibatches from it too.
    train: Count
    #: Held-out sequences, which stages are measured on.
    held: Count


class BigramSource(_Sequences):
    """Characters from the bigram statistics of real text, with triggers (Bietti et al. 2023)."""

    kind: Literal["bigram"]
    #: Installed package whose docstrings are the text.
    package: str
    #: Trigger characters of each sequence, every one followed by a character of its own.
    triggers: Count
    #: Triggers are drawn from so many of the most frequent characters.
    pool: Count


class TextSource(_Sequences):
    """Characters of the text itself."""

    kind: Literal["text"]
    package: str
    #: Characters that a copy must share with the one before it, for its end to be an induction
    #: token: with 2, the character after a pair that stood earlier in the sequence.
    copied: Count = 2


class DocumentFiles(Strict):
    """Tokens of documents: a local file or folder, or a data set of the Hugging Face hub."""

    kind: Literal["documents"]
    #: A .txt, .jsonl or .parquet file, a folder of them, or the name of a hub's data set.
    path: str = Field(min_length=1)
    #: Column, or JSON key, that holds the text.
    column: str = "text"
    #: Split of a hub's data set.
    split: str = "train"
    #: Repository id or local folder of the tokenizer.
    tokenizer: str = Field(min_length=1)


class DocumentsSource(_Sequences, DocumentFiles):
    """Sequences of such tokens."""

    copied: Count = 2


class NetworkSettings(Strict):
    """A GPT-NeoX model that is trained here."""

    kind: Literal["gpt_neox"] = "gpt_neox"
    layers: Count
    width: Count
    heads: Count
    #: Of the perceptrons, in units of the width.
    expansion: Count = 4
    #: Share of each head's dimensions that is rotated.
    rotary: float = Field(gt=0, le=1)
    #: Attention and perceptron side by side (Pythia) or one after the other.
    parallel_residual: bool
    #: Standard deviation of the initial matrices.
    init_scale: Positive = 0.02


class PretrainedSettings(Strict):
    """Public checkpoints of one model: nothing is trained."""

    kind: Literal["pretrained"]
    #: Repository id of a GPT-NeoX model whose revisions are called step{N}; or a local folder with
    #: one subfolder step{N} for each.
    model: str = Field(min_length=1)
    #: Files of the model that are read; null takes what the hub's cache or the hub has.
    cache: str | None = None


class TrainingSettings(Strict):
    """AdamW on minibatches of sequences; warms up, then stays."""

    steps: Count
    batch_size: Count
    learning_rate: Positive
    warmup: Count
    weight_decay: NonNegative
    #: Steps between measurements of stages.
    measure_every: Count


class TokenSamplingSettings(Strict):
    """Langevin chains about every checkpoint, the same for all of them."""

    kernel: Literal["sgld", "underdamped", "baoab", "rmsprop_sgld"] = "sgld"
    potential: Literal["plain", "recentred"] = "plain"
    n_beta: Positive
    localization: Positive
    step_size: Positive
    friction: float | None = Field(default=None, gt=0, le=1)
    batch_size: Count
    chains: int = Field(ge=4)
    burn_in: int = Field(ge=0)
    draws: int = Field(ge=8)
    spacing: Count = 1
    #: Independent draws per chain of the law at nβ = 0, N(w*, I/γ).
    prior_draws: int = Field(ge=8)
    #: Sequences of the training set whose tokens' losses are recorded.
    recorded: int = Field(ge=2)
    #: Checkpoints of one job.
    checkpoint_block: Count
    #: Chains of one job; as many as there are chains, or fewer where one job is too long.
    chain_block: Count


class RunSettings(Strict):
    """One corpus, one kind of network, and the checkpoints that are sampled."""

    source: BigramSource | TextSource | DocumentsSource = Field(discriminator="kind")
    network: NetworkSettings | PretrainedSettings = Field(discriminator="kind")
    #: Null where the network is pretrained.
    training: TrainingSettings | None = None
    sampling: TokenSamplingSettings
    #: Seed that settings, grids and windows are chosen on; it is not scored. Null if there is none.
    pilot: Seed | None = None
    #: Steps that are sampled, by training seed.
    grids: dict[Seed, tuple[Step, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        trained = self.network.kind != "pretrained"
        if trained != (self.training is not None):
            raise ValueError(
                "a network that is trained here needs 'training', a pretrained one takes none"
            )
        for seed, steps in self.grids.items():
            if len(steps) < 2 or list(steps) != sorted(set(steps)):
                raise ValueError(f"grids.{seed} must be at least two different steps in order")
            if self.training and steps[-1] > self.training.steps:
                raise ValueError(
                    f"grids.{seed} names step {steps[-1]}; training ends at {self.training.steps}"
                )
        if self.pilot in self.grids:
            raise ValueError(f"seed {self.pilot} is the pilot, which is not scored; leave it out")
        return self

    def trained_seeds(self) -> list[int]:
        """Seeds that are trained: those that are sampled and the pilot."""
        return sorted({*self.grids, *([] if self.pilot is None else [self.pilot])})

    def all_steps(self) -> list[int]:
        """Every step at which some seed is sampled; checkpoints of all seeds are kept there."""
        return sorted({step for steps in self.grids.values() for step in steps})


Arm = Literal["during", "before", "after", "random"]


class BranchSettings(Strict):
    """Induction tokens weigh more for a while, in runs that branch off from a shared checkpoint."""

    #: Step that branches leave at; before the first window.
    step: Step
    #: Steps of a window. The middle of the one called "during" is the pilot's transition; "before"
    #: ends where it begins, "after" begins where it ends, "random" are as many steps out of all
    #: three. So all arms have the same total of extra weight.
    width: Count
    #: Extra weight of an induction token's loss inside a window; others keep weight 1.
    extra: Positive
    #: Most steps that a run goes on after the last window, if the outcome has not come.
    after: Count
    #: Steps between measurements of induction accuracy.
    measure_every: Count
    #: Accuracy whose crossing is the outcome.
    threshold: float = Field(gt=0, lt=1)


class InterventionSettings(Strict):
    """Arms and seeds of the intervention; the arm that is left alone is the training itself."""

    #: Run whose training is intervened in.
    run: Name
    branch: BranchSettings
    #: Of the default experiment, and of ``make studies``.
    arms: tuple[Arm, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field(min_length=2)
    study_arms: tuple[Arm, ...] = Field(min_length=1)
    study_seeds: tuple[Seed, ...] = Field(min_length=2)


class LanguageSettings(Strict):
    """All language experiments."""

    runs: dict[Name, RunSettings] = Field(min_length=1)
    #: Run whose claims are tested.
    main: Name
    intervention: InterventionSettings | None = None
    #: Draws of the bootstrap over sequences.
    bootstrap: int = Field(ge=20)
    diagnostics: DiagnosticsSettings

    @model_validator(mode="after")
    def _known(self) -> Self:
        named = [self.main, *([self.intervention.run] if self.intervention else [])]
        unknown = sorted(set(named) - set(self.runs))
        if unknown:
            raise ValueError(f"no language runs are called {unknown}; there are {list(self.runs)}")
        if self.intervention:
            _check_intervention(self.intervention, self.runs[self.intervention.run])
        return self


def _check_intervention(chosen: InterventionSettings, run: RunSettings) -> None:
    if run.training is None or run.pilot is None:
        raise ValueError(
            f"intervention.run {chosen.run!r} needs 'training' and a 'pilot', whose transition "
            "places the windows"
        )
    if chosen.branch.step > run.training.steps:
        raise ValueError(
            f"intervention.branch.step is {chosen.branch.step}; training ends at "
            f"{run.training.steps}"
        )
    if run.pilot in {*chosen.seeds, *chosen.study_seeds}:
        raise ValueError(f"seed {run.pilot} is the pilot; leave it out of the intervention's seeds")


class CorpusStage(Strict):
    """What making a corpus is told."""

    seed: Seed
    name: Name
    source: BigramSource | TextSource | DocumentsSource = Field(discriminator="kind")


class TrainStage(Strict):
    """What training, or loading, one seed's checkpoints is told."""

    seed: Seed
    name: Name
    #: Training seed.
    run_seed: Seed
    network: NetworkSettings | PretrainedSettings = Field(discriminator="kind")
    training: TrainingSettings | None
    #: Steps whose weights are kept.
    steps: tuple[Step, ...]
    #: Step whose whole state is kept, for branches; null keeps none.
    branch_step: Step | None = None


class BranchStage(Strict):
    """What one arm of the intervention on one seed is told."""

    seed: Seed
    name: Name
    run_seed: Seed
    pilot: Seed
    arm: Arm
    network: NetworkSettings
    training: TrainingSettings
    branch: BranchSettings


class BranchTableStage(Strict):
    """What the table of the intervention is told."""

    arms: tuple[Arm, ...]
    threshold: float
    bootstrap: int
    seed: Seed
    #: What the numbers' keys begin with.
    prefix: str


class TokenSampleStage(Strict):
    """What sampling about a block of checkpoints is told."""

    seed: Seed
    name: Name
    network: NetworkSettings | PretrainedSettings = Field(discriminator="kind")
    sampling: TokenSamplingSettings
    steps: tuple[Step, ...]
    #: First chain of the block.
    chain_start: int = Field(ge=0)


class ClassGradientStage(Strict):
    """What the products of gradients of token classes, of one seed, are told."""

    seed: Seed
    name: Name
    network: NetworkSettings | PretrainedSettings = Field(discriminator="kind")
    #: Sequences, those that chains record.
    recorded: int = Field(ge=2)
    steps: tuple[Step, ...]


class InfluenceStage(Strict):
    """What estimating the influence between classes of tokens, of one seed, is told."""

    seed: Seed
    name: Name
    run_seed: Seed
    #: Draws of the bootstrap.
    bootstrap: int = Field(ge=20)
    diagnostics: DiagnosticsSettings


class StagesStage(Strict):
    """What dating the stages of one run's trainings is told."""

    seed: Seed
    name: Name
    #: Draws of the bootstrap over held-out sequences.
    bootstrap: int = Field(ge=20)


class LanguageTableStage(Strict):
    """What gathering the language experiments is told."""

    seed: Seed
    #: Run whose numbers carry no name of a run.
    main: Name
    #: Draws of the null of circular shifts, in hundreds, where there are too many to list.
    bootstrap: int = Field(ge=20)
