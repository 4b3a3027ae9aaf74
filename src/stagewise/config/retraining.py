"""Settings of retraining: problems, sets of subsets, attributors, and what they are judged by."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict
from stagewise.config.calibration import GoalSettings
from stagewise.config.retraining_data import (
    LANGUAGE,
    NETWORKS,
    Cifar10Source,
    ConvNetwork,
    DigitsSource,
    DocstringSource,
    MlpNetwork,
    NeoxNetwork,
    PiecesSource,
    PublicNetwork,
    ResNet9Network,
)
from stagewise.config.retraining_study import SensitivitySettings

Fraction = Annotated[float, Field(gt=0, lt=1)]
Role = Literal["scored", "tuning", "loo", "removal"]
#: Attributors that are sampled; both come from the same chains.
SAMPLED = ("bif", "bif_correlation")
#: Settings of every attributor: as many chances for each.
SETTINGS = 9
Method = Literal[
    "bif",
    "bif_correlation",
    "exact_ggn",
    "exact_hessian",
    "ekfac",
    "trak",
    "tracin",
    "gradient_similarity",
    "representation",
    "random",
]


class CropSettings(Strict):
    """Images that are moved and mirrored each time that they are trained on."""

    #: Most pixels by which an image is moved, in each direction.
    crop: int = Field(ge=0, le=16)
    #: Whether half of them are mirrored.
    flip: bool


class DescentRecipe(Strict):
    """Minibatch gradient descent with momentum; the step falls to zero."""

    kind: Literal["descent"]
    #: Optimiser steps, whatever the number of samples.
    steps: Count
    #: Samples per batch.
    batch_size: Count
    #: Step length at the start.
    learning_rate: Positive
    #: Momentum of the optimiser.
    momentum: float = Field(ge=0, lt=1)
    #: λ of the term (λ/2)|w|², nats per squared unit of weight.
    weight_decay: NonNegative
    #: Trainings on all samples; the first is attributed, ensembles use them all.
    members: Count
    #: Steps after which weights are kept, for methods that follow the training.
    checkpoints: tuple[Count, ...] = Field(min_length=1)
    #: None leaves the images as they are.
    crops: CropSettings | None = None

    @model_validator(mode="after")
    def _ascends(self) -> "DescentRecipe":
        kept = list(self.checkpoints)
        if kept != sorted(set(kept)) or kept[-1] != self.steps:
            raise ValueError(f"checkpoints {kept} must ascend and end with steps ({self.steps})")
        return self


class NewtonRecipe(Strict):
    """The minimum itself, of a convex loss."""

    kind: Literal["newton"]
    #: λ of the term (λ/2)|w|², nats per squared unit of weight.
    weight_decay: Positive


class SetSettings(Strict):
    """Retrainings of one kind."""

    role: Role
    #: Share of the training samples that a random subset has.
    alpha: float = Field(gt=0, le=1, default=1.0)
    #: Random subsets; or samples that are left out, one at a time, the full set beside them.
    subsets: Count
    #: Retrainings of each subset.
    seeds: Count


class RemovalSettings(Strict):
    """Retrainings without the samples that an attributor calls most helpful."""

    #: Queries, drawn at random.
    queries: Count
    #: Attributors that are compared.
    methods: tuple[Method, ...] = Field(min_length=1)
    #: Numbers of samples that are removed.
    counts: tuple[Count, ...] = Field(min_length=1)
    #: Retrainings of each set.
    seeds: int = Field(ge=2)


class FlipSettings(Strict):
    """Training with flipped labels, which attributors should find."""

    #: Share of the training labels that are flipped.
    share: Fraction
    #: Attributors that are compared.
    methods: tuple[Method, ...] = Field(min_length=1)


class RetrainingProblem(Strict):
    """A network on images or documents, and how often it is retrained on what."""

    source: Annotated[
        DigitsSource | Cifar10Source | DocstringSource | PiecesSource, Field(discriminator="kind")
    ] = DigitsSource()
    network: Annotated[
        MlpNetwork | ConvNetwork | ResNet9Network | NeoxNetwork | PublicNetwork,
        Field(discriminator="kind"),
    ]
    #: Training samples.
    train: Count
    #: Held-out samples whose losses are attributed.
    queries: Count
    recipe: Annotated[DescentRecipe | NewtonRecipe, Field(discriminator="kind")]
    #: Sets of retrainings by name.
    sets: dict[Name, SetSettings]
    #: Attributors.
    methods: tuple[Method, ...] = Field(min_length=1)
    removal: RemovalSettings | None = None
    flips: FlipSettings | None = None
    #: Subsets of one job; None retrains a whole set in one.
    subset_block: Count | None = None
    #: Its own sampling runs; None is ``retraining.sampled``.
    sampled: "SampledSettings | None" = None

    @property
    def large(self) -> bool:
        """Whether it is for a GPU."""
        return self.network.kind in ("resnet9", "pretrained")

    @property
    def started(self) -> bool:
        """Whether every training starts from the same weights, which were trained before."""
        return self.network.kind in LANGUAGE

    @model_validator(mode="after")
    def _fits(self) -> "RetrainingProblem":
        newton = self.recipe.kind == "newton"
        if newton and (self.network.kind != "mlp" or self.network.hidden):
            raise ValueError(
                "recipe.kind newton needs a convex loss: network {kind: mlp, hidden: []}"
            )
        _check_data(self)
        for name, one in self.sets.items():
            _check_set(name, one, newton)
        extra = [self.removal, self.flips]
        if self.flips and "bif_correlation" in self.flips.methods:
            raise ValueError(
                "flips.methods: every sample's loss correlates with itself to 1; name bif"
            )
        if self.flips and "tuning" not in {one.role for one in self.sets.values()}:
            raise ValueError("flips needs a set of role tuning, which settings are chosen on")
        used = {method for part in extra if part for method in part.methods}
        if used - set(self.methods):
            raise ValueError(f"{sorted(used - set(self.methods))} are not among methods")
        if self.removal and "tuning" not in {one.role for one in self.sets.values()}:
            raise ValueError("removal needs a set of role tuning, which settings are chosen on")
        return self


def _check_data(problem: RetrainingProblem) -> None:
    """Refuse what doesn't fit the data: networks, crops, matrices, sets that need labels."""
    source, network = problem.source.kind, problem.network.kind
    if network not in NETWORKS[source]:
        allowed = "; ".join(f"{' and '.join(those)} on {one}" for one, those in NETWORKS.items())
        raise ValueError(f"network.kind {network} on source.kind {source}; allowed are {allowed}")
    if source != "cifar10" and problem.recipe.kind == "descent" and problem.recipe.crops:
        raise ValueError(f"recipe.crops are for source.kind cifar10; leave them out for {source}")
    exact = sorted(set(problem.methods) & {"exact_ggn", "exact_hessian"})
    if source != "digits" and exact:
        raise ValueError(
            f"methods {exact} form a matrix of all pairs of parameters, which a {network} has too "
            "many of; leave them out"
        )
    whole = problem.removal or problem.flips or any(x.role == "loo" for x in problem.sets.values())
    if network in LANGUAGE and whole:
        raise ValueError(
            f"removal, flips and sets of role loo are not for {network}, whose documents have "
            "neither labels nor weights; leave them out"
        )


def _check_set(name: str, one: SetSettings, newton: bool) -> None:
    expected = f"{one.role}_a{round(100 * one.alpha):02d}" if one.role != "loo" else "loo"
    if one.role == "removal" or name != expected:
        raise ValueError(
            f"sets.{name} has role {one.role} and alpha {one.alpha}; sets are called scored_a50, "
            "tuning_a50 or loo by role and percentage, and removals stand under removal"
        )
    if newton and one.role != "loo":
        raise ValueError(f"sets.{name}: a recipe of kind newton is for leaving samples out (loo)")
    if newton != (one.seeds == 1):
        raise ValueError(
            f"sets.{name}.seeds is {one.seeds}; at least 2 where training is random, to tell what "
            "a subset does from what a seed does, and 1 where it is not"
        )


class SampledSettings(Strict):
    """Sampling runs behind the Bayesian influence functions: calibrated, then varied."""

    goal: GoalSettings
    #: γ/nβ of the calibration, nats per squared unit of weight.
    damping: Positive
    #: γ/nβ of the settings that are tried, nats per squared unit of weight.
    dampings: tuple[Positive, ...] = Field(min_length=1)
    #: nβ of the settings that are tried, per nat.
    n_betas: tuple[Positive, ...] = Field(min_length=1)
    chains: int = Field(ge=8)
    #: Recorded draws per chain.
    draws: Annotated[int, Field(ge=8)]

    @model_validator(mode="after")
    def _as_many_as_others(self) -> "SampledSettings":
        if len(self.dampings) * len(self.n_betas) != SETTINGS:
            raise ValueError(
                f"{len(self.dampings)} dampings times {len(self.n_betas)} n_betas; every "
                f"attributor has {SETTINGS} settings: give so many pairs"
            )
        return self

    def pairs(self) -> list[tuple[float, float]]:
        """Return (damping, nβ) of every setting."""
        return [(one, other) for one in self.dampings for other in self.n_betas]


class RetrainingSettings(Strict):
    """Attributors judged by retraining."""

    problems: dict[Name, RetrainingProblem]
    #: Problems of ``make studies``, which the default run leaves out.
    studies: tuple[Name, ...] = ()
    sampled: SampledSettings
    #: The study of the Bayesian influence's settings.
    sensitivity: SensitivitySettings
    #: Bootstrap draws behind every interval.
    resamplings: int = Field(ge=100)

    @model_validator(mode="after")
    def _known(self) -> "RetrainingSettings":
        known = set(self.problems)
        if unknown := sorted({*self.studies, self.sensitivity.problem} - known):
            raise ValueError(f"no problems are called {unknown}; there are {sorted(known)}")
        studied = self.problems[self.sensitivity.problem]
        if "scored_a50" not in studied.sets or studied.recipe.kind != "descent":
            raise ValueError(
                f"sensitivity.problem {self.sensitivity.problem!r} needs a set scored_a50 and a "
                "recipe of kind descent, whose checkpoints are sampled"
            )
        if not {"exact_hessian", "exact_ggn"} <= set(studied.methods):
            raise ValueError(
                f"sensitivity.problem {self.sensitivity.problem!r} needs exact_hessian and "
                "exact_ggn among its methods, which replicas are compared with"
            )
        return self


class ProblemStage(Strict):
    """What every stage on one problem is told."""

    seed: int = Field(ge=0)
    name: Name
    problem: RetrainingProblem


class TrainStage(ProblemStage):
    """What the training on all samples is told."""

    labels: Literal["clean", "flipped"]


class TargetStage(ProblemStage):
    """What retraining on one set of subsets, or on some of them, is told."""

    set_name: Name
    #: First subset of the job; None is the whole set.
    start: int | None = Field(ge=0, default=None)
    #: Most subsets of the job.
    block: Count | None = None

    @model_validator(mode="after")
    def _both(self) -> "TargetStage":
        if (self.start is None) != (self.block is None):
            raise ValueError(f"start {self.start} and block {self.block}; give both or neither")
        return self


class AttributeStage(ProblemStage):
    """What an attributor is told."""

    method: Method


class SampledStage(ProblemStage):
    """What the calibration is told."""

    sampled: SampledSettings


class SampleStage(SampledStage):
    """What one sampling run is told."""

    setting: int = Field(ge=0, lt=SETTINGS)


class MislabelStage(SampledStage):
    """What the search for flipped labels by one attributor is told."""

    method: Method
