"""Settings of the two-task experiment: arithmetic modulo p, parameters shared in part.

Units: losses in nats, 1/2 |y - yhat|^2 (Gaussian of variance 1); steps are optimiser steps
(training) or Langevin steps (sampling).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict
from stagewise.config.toy import DiagnosticsSettings

Seed = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Operation = Literal["add", "subtract", "multiply"]
Batches = Literal["full", "stratified", "mixed"]


class ModularSettings(Strict):
    """The data: all pairs (a, b) modulo p, for two tasks."""

    #: p.
    modulus: int = Field(ge=3)
    #: Operations of the first and of the second task.
    tasks: tuple[Operation, Operation]
    #: Share of each task's pairs that is trained on.
    train_share: float = Field(gt=0, lt=1)
    #: Training samples of each task whose losses are recorded, evenly spaced.
    recorded: int = Field(ge=2)


class TwoTaskTraining(Strict):
    """One hidden layer of squares, by Adam on the full gradient of loss and weight decay."""

    #: Hidden units of each task, shared ones included.
    width: Count
    steps: Count
    learning_rate: Positive
    #: Nats per squared unit of weight.
    weight_decay: NonNegative
    #: Shared fractions of a task's parameters; each gives a whole number of units.
    shared: tuple[Fraction, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole_units(self) -> Self:
        uneven = [
            one for one in self.shared if abs(one * self.width - round(one * self.width)) > 1e-9
        ]
        if uneven or len(set(self.shared)) != len(self.shared):
            raise ValueError(
                f"shared {list(self.shared)} must be different fractions that give whole numbers "
                f"of {self.width} units"
            )
        return self


class TwoTaskSampling(Strict):
    """SGLD on the plain potential about the trained networks of one seed, or two regressions."""

    #: The trained networks, or a linear regression for each task, whose law is exact.
    model: Literal["network", "regressions"] = "network"
    #: Shared fractions that are sampled; empty for regressions, which share nothing.
    shared: tuple[Fraction, ...] = ()
    #: Full gradients, minibatches with as many samples of each task, or of both tasks together.
    batches: Batches = "full"
    #: Samples in a minibatch; null for full gradients.
    batch_size: Count | None = None
    #: Inverse temperature times n, per nat.
    n_beta: Positive
    #: Per squared unit of weight.
    localization: Positive
    step_size: Positive
    chains: int = Field(ge=8)
    burn_in: int = Field(ge=0)
    draws: int = Field(ge=8)
    spacing: Count = 1
    #: Seeds of one job.
    block: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.batches == "full") != (self.batch_size is None):
            raise ValueError("batch_size belongs to minibatches, and to nothing else")
        if (self.model == "network") != bool(self.shared):
            raise ValueError("'shared' names fractions where the model is a network, else nothing")
        return self


class MultitaskSettings(Strict):
    """The whole experiment."""

    data: ModularSettings
    training: TwoTaskTraining
    #: Seed that settings were chosen on; it is neither scored nor run.
    pilot: Seed
    #: Seeds of initial weights and of chains.
    seeds: tuple[Seed, ...] = Field(min_length=2)
    #: Sampling runs by name.
    rows: dict[Name, TwoTaskSampling] = Field(min_length=1)
    #: Row of all shared fractions.
    main: Name
    #: Row of the regressions.
    exact: Name
    #: Rows that differ by their batches alone, where nothing is shared.
    coupling: dict[Batches, Name]
    diagnostics: DiagnosticsSettings

    @model_validator(mode="after")
    def _known(self) -> Self:
        named = {self.main, self.exact, *self.coupling.values()}
        if unknown := sorted(named - set(self.rows)):
            raise ValueError(f"no rows are called {unknown}; there are {list(self.rows)}")
        if self.pilot in self.seeds:
            raise ValueError(f"seed {self.pilot} is the pilot, which is not scored; leave it out")
        for name, row in self.rows.items():
            if absent := sorted(set(row.shared) - set(self.training.shared)):
                raise ValueError(f"rows.{name} samples fractions {absent} that are not trained")
        if not {0.0, 0.5} <= set(self.rows[self.main].shared):
            raise ValueError(f"rows.{self.main}.shared needs 0.0 and 0.5, which are scored")
        return self


class TwoTaskTrainStage(Strict):
    """What training is told."""

    seed: Seed
    data: ModularSettings
    training: TwoTaskTraining
    seeds: tuple[Seed, ...]


class TwoTaskSampleStage(Strict):
    """What sampling one row on some seeds, and estimating their kernels, are told."""

    seed: Seed
    data: ModularSettings
    training: TwoTaskTraining
    name: Name
    row: TwoTaskSampling
    run_seeds: tuple[Seed, ...] = Field(min_length=1)


class TwoTaskTableStage(Strict):
    """What the tables are told."""

    main: Name
    exact: Name
    coupling: dict[Batches, Name]
    diagnostics: DiagnosticsSettings
