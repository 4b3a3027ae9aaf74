"""Settings of the calibration experiments: problems with an exact answer, and rows of settings."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict
from stagewise.config.toy import DiagnosticsSettings

Fraction = Field(gt=0, lt=1)
#: Kernels with a velocity.
WITH_FRICTION = ("underdamped", "baoab")


class ProblemSettings(Strict):
    """A small network on real data whose damped influence can be computed exactly."""

    #: "digits": scikit-learn's handwritten digits; "cancer": its breast cancer measurements.
    data: Literal["digits", "cancer"]
    #: Training samples.
    train: Count
    #: Held-out samples whose losses are influenced.
    queries: Count
    #: Units of the hidden layers; none makes it softmax regression.
    hidden: tuple[Count, ...]
    #: Optimiser steps.
    steps: Count
    #: Samples per batch of the training.
    batch_size: Count
    #: Step length at the start; it falls to zero.
    learning_rate: Positive
    #: Momentum of the optimiser.
    momentum: float = Field(ge=0, lt=1)
    #: λ of the term (λ/2)|w|², nats per squared unit of weight.
    weight_decay: NonNegative
    #: δ of the exact influence, nats per squared unit of weight; γ/nβ of the sampled one.
    damping: Positive


class GoalSettings(Strict):
    """What a calibrated run should reach."""

    #: Least correlation of influences with those of a law ten times as narrow.
    locality: float = Fraction
    #: Most relative bias of the loss covariance.
    bias: float = Fraction
    #: Expected correlation of influences with their limit of many draws.
    reliability: float = Fraction
    #: Chains of the pilots.
    pilot_chains: int = Field(ge=8)
    #: Batch sizes to choose from; 0 is the full gradient.
    batch_sizes: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class RunSettings(Strict):
    """Settings of sampling runs, some of them open."""

    #: Take everything but the budget from the problem's calibration.
    calibrated: bool = False
    kernel: Literal["sgld", "underdamped", "baoab", "rmsprop_sgld"] = "baoab"
    potential: Literal["plain", "recentred"] = "recentred"
    #: Minibatch gradients of the plain potential as differences from the checkpoint's.
    control_variate: bool = False
    n_beta: Positive | None = None
    localization: Positive | None = None
    step_size: Positive | None = None
    #: In (0, 1], for kernels with a velocity.
    friction: float | None = Field(default=None, gt=0, le=1)
    #: Samples per minibatch; 0 is the full gradient.
    batch_size: int = Field(ge=0, default=0)
    chains: int = Field(ge=8)
    burn_in: int = Field(ge=0, default=0)
    #: Recorded draws per chain; a calibrated row takes its own where this is null.
    draws: Count | None = None
    spacing: Count = 1


class RowSettings(RunSettings):
    """Settings of one sampling run, by hand or by calibration."""

    @model_validator(mode="after")
    def _complete(self) -> "RowSettings":
        by_hand = ("n_beta", "localization", "step_size", "draws")
        missing = [name for name in by_hand if getattr(self, name) is None]
        if not self.calibrated and missing:
            raise ValueError(f"a row that is not calibrated needs {', '.join(missing)}")
        moves = self.kernel in WITH_FRICTION
        if not self.calibrated and moves != (self.friction is not None):
            raise ValueError(
                f"kernel {self.kernel!r} {'needs a' if moves else 'takes no'} friction"
            )
        return self


class GridSettings(Strict):
    """A sweep by hand, on one problem, every cell with the same gradient evaluations."""

    problem: Name
    #: Kernel, potential, chains, burn-in, draws and spacing of every cell.
    base: RunSettings
    n_beta: tuple[Positive, ...] = Field(min_length=1)
    #: γ/nβ, nats per squared unit of weight.
    damping: tuple[Positive, ...] = Field(min_length=1)
    #: ε times nβ.
    step: tuple[Positive, ...] = Field(min_length=1)

    def rows(self, name: str) -> dict[str, RowSettings]:
        """Return the grid's cells by name; a calibrated row of the same budget comes first."""
        cells = {f"{name}_calibrated": self._row(calibrated=True)}
        for i, n_beta in enumerate(self.n_beta):
            for j, damping in enumerate(self.damping):
                for k, step in enumerate(self.step):
                    cells[f"{name}_{i}{j}{k}"] = self._row(
                        n_beta=n_beta, localization=n_beta * damping, step_size=step / n_beta
                    )
        return cells

    def _row(self, **update: float) -> RowSettings:
        friction = self.base.friction
        if "step_size" in update and self.base.kernel in WITH_FRICTION:
            # Critical for the flattest direction, as calibration has it; not part of the sweep.
            rate = update["step_size"] * update["localization"] / 2
            friction = friction or -math.expm1(-2 * math.sqrt(rate))
        return RowSettings(**{**self.base.model_dump(), **update, "friction": friction})


class CalibrationSettings(Strict):
    """Calibration against exact answers."""

    problems: dict[Name, ProblemSettings]
    goal: GoalSettings
    #: Sampling runs of the default experiments, by problem and name.
    rows: dict[Name, dict[Name, RowSettings]]
    #: Rows that differ by their gradient alone: full, minibatch, control variate.
    estimators: dict[Literal["full", "minibatch", "control_variate"], Name]
    #: Sweeps of ``make studies``.
    grids: dict[Name, GridSettings]
    #: Limits that the calibrated runs must keep.
    diagnostics: DiagnosticsSettings

    @model_validator(mode="after")
    def _known(self) -> "CalibrationSettings":
        used = [*self.rows, *(grid.problem for grid in self.grids.values())]
        unknown = sorted(set(used) - set(self.problems))
        if unknown:
            raise ValueError(f"no problems are called {unknown}; there are {list(self.problems)}")
        rows = {name for of_problem in self.rows.values() for name in of_problem}
        absent = sorted(set(self.estimators.values()) - rows)
        if absent:
            raise ValueError(f"estimators name no rows: {absent}; there are {sorted(rows)}")
        return self


class ProblemStage(Strict):
    """What every stage on one problem is told."""

    seed: int = Field(ge=0)
    name: Name
    problem: ProblemSettings


class CalibrateStage(ProblemStage):
    """What a calibration is told."""

    goal: GoalSettings
    chains: int = Field(ge=8)


class RowStage(ProblemStage):
    """What a sampling run is told."""

    row_name: Name
    row: RowSettings


class TableStage(Strict):
    """What the table of all runs is told."""

    #: Names of the problems, in the order of the calibrations given.
    problems: tuple[Name, ...]
    #: Row by gradient estimator, for the comparison of full, minibatch and control variate.
    estimators: dict[Literal["full", "minibatch", "control_variate"], Name]
    #: The problem of every grid, where grids are tabled.
    grids: dict[Name, Name] = Field(default_factory=dict)
    diagnostics: DiagnosticsSettings
