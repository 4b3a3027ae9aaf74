"""Settings of the study of how the Bayesian influence function's score depends on its settings."""

from typing import Literal

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, Positive, Strict
from stagewise.config.calibration import WITH_FRICTION

Axis = Literal["grid", "budget", "kernels", "gradients", "checkpoints", "replicas"]
Kernel = Literal["sgld", "underdamped", "baoab"]
Potential = Literal["plain", "recentred"]
Estimator = Literal["full", "minibatch", "control_variate"]
#: Settings that are the calibration's own.
CALIBRATED = "calibrated"


class HandSettings(Strict):
    """A law and a chain that somebody chose by hand."""

    kernel: Kernel
    n_beta: Positive
    #: γ, per squared unit of weight.
    localization: Positive
    #: ε, squared units of weight.
    step_size: Positive
    #: In (0, 1], for kernels with a velocity.
    friction: float | None = Field(default=None, gt=0, le=1)
    burn_in: Count
    spacing: Count

    @model_validator(mode="after")
    def _complete(self) -> "HandSettings":
        moves = self.kernel in WITH_FRICTION
        if moves != (self.friction is not None):
            raise ValueError(
                f"kernel {self.kernel!r} {'needs a' if moves else 'takes no'} friction"
            )
        return self


class SensitivitySettings(Strict):
    """What ``make studies`` varies, one axis at a time, about one setting."""

    #: A problem of the default run, whose chains, network and targets it takes.
    problem: Name
    #: γ/nβ and nβ of the setting that others are compared with.
    damping: Positive
    n_beta: Positive
    #: Chains and draws per chain of every cell but those of the budget.
    chains: int = Field(ge=8)
    draws: int = Field(ge=8)
    #: The grid: γ/nβ, nβ, and multiples of the calibrated step at the same number of steps.
    dampings: tuple[Positive, ...] = Field(min_length=1)
    n_betas: tuple[Positive, ...] = Field(min_length=1)
    steps: tuple[Positive, ...] = Field(min_length=1)
    #: The budget: every number of chains with every number of draws.
    budget_chains: tuple[Count, ...] = Field(min_length=1)
    budget_draws: tuple[Count, ...] = Field(min_length=1)
    kernels: tuple[Kernel, ...] = Field(min_length=1)
    potentials: tuple[Potential, ...] = Field(min_length=1)
    #: Samples of a minibatch.
    batch_sizes: tuple[Count, ...]
    #: Settings beside the calibration's that gradients are compared at.
    by_hand: dict[Name, HandSettings]
    #: Runs that differ in their random streams alone, at each of some γ/nβ: those that an exact
    #: influence is there for.
    replicas: int = Field(ge=2)
    replica_dampings: tuple[Positive, ...] = Field(min_length=1)
    #: Chains and draws per chain of each.
    replica_chains: int = Field(ge=8)
    replica_draws: int = Field(ge=8)
    #: Cells of one job.
    cell_block: Count

    @model_validator(mode="after")
    def _enough(self) -> "SensitivitySettings":
        if min(self.budget_chains) < 8 or min(self.budget_draws) < 8:
            raise ValueError("budget_chains and budget_draws must be 8 or more each")
        if CALIBRATED in self.by_hand:
            raise ValueError(f"by_hand: {CALIBRATED!r} is what the calibration's own are called")
        return self


class Cell(Strict):
    """One sampling run of the study."""

    name: Name
    axis: Axis
    damping: Positive
    n_beta: Positive
    #: In units of the calibrated step.
    step: Positive = 1.0
    chains: Count
    draws: Count
    kernel: Kernel = "baoab"
    potential: Potential = "recentred"
    #: Samples of a minibatch; 0 is the full gradient.
    batch_size: int = Field(ge=0, default=0)
    control_variate: bool = False
    #: Place among the stored checkpoints; -1 is the final one.
    checkpoint: int = -1
    #: Who chose law and step: the calibration, or a name of ``by_hand``.
    settings: Name = CALIBRATED


def cells(of: SensitivitySettings, checkpoints: int) -> list[Cell]:
    """Return every sampling run in a fixed order.

    Args:
        of: The study.
        checkpoints: Number of stored checkpoints.
    """
    base = {"damping": of.damping, "n_beta": of.n_beta, "chains": of.chains, "draws": of.draws}
    return [
        *_grid(of, base),
        *_budget(of, base),
        *_kernels(of, base),
        *_gradients(of, base),
        *(
            Cell(name=f"checkpoint_{place}", axis="checkpoints", checkpoint=place, **base)
            for place in range(checkpoints)
        ),
        *_replicas(of, base),
    ]


def _grid(of: SensitivitySettings, base: dict[str, float]) -> list[Cell]:
    return [
        Cell(
            name=f"grid_{i}{j}{k}",
            axis="grid",
            step=step,
            **{**base, "damping": damping, "n_beta": n_beta},
        )
        for i, damping in enumerate(of.dampings)
        for j, n_beta in enumerate(of.n_betas)
        for k, step in enumerate(of.steps)
    ]


def _budget(of: SensitivitySettings, base: dict[str, float]) -> list[Cell]:
    return [
        Cell(
            name=f"budget_c{chains}_d{draws}",
            axis="budget",
            **{**base, "chains": chains, "draws": draws},
        )
        for chains in of.budget_chains
        for draws in of.budget_draws
    ]


def _replicas(of: SensitivitySettings, base: dict[str, float]) -> list[Cell]:
    budget = {"chains": of.replica_chains, "draws": of.replica_draws}
    return [
        Cell(name=f"replica_{i}_{k}", axis="replicas", **{**base, **budget, "damping": damping})
        for i, damping in enumerate(of.replica_dampings)
        for k in range(of.replicas)
    ]


def _kernels(of: SensitivitySettings, base: dict[str, float]) -> list[Cell]:
    return [
        Cell(
            name=f"kernels_{kernel}_{potential}",
            axis="kernels",
            kernel=kernel,
            potential=potential,
            **base,
        )
        for kernel in of.kernels
        for potential in of.potentials
    ]


def _gradients(of: SensitivitySettings, base: dict[str, float]) -> list[Cell]:
    """Every settings with full gradients, minibatches and control variates, of both potentials.

    The recentred potential's minibatch gradients are differences, so that it has no bare ones.
    """
    kinds: list[tuple[str, Potential, Estimator]] = [
        ("full_plain", "plain", "full"),
        ("full_recentred", "recentred", "full"),
        ("minibatch_plain", "plain", "minibatch"),
        ("variate_plain", "plain", "control_variate"),
        ("minibatch_recentred", "recentred", "control_variate"),
    ]
    found = []
    for settings in (CALIBRATED, *of.by_hand):
        kernel = "baoab" if settings == CALIBRATED else of.by_hand[settings].kernel
        for word, potential, estimator in kinds:
            for size in (0,) if estimator == "full" else of.batch_sizes:
                found.append(
                    Cell(
                        name=f"gradients_{settings}_{word}" + (f"_{size}" if size else ""),
                        axis="gradients",
                        kernel=kernel,
                        potential=potential,
                        batch_size=size,
                        control_variate=estimator == "control_variate",
                        settings=settings,
                        **base,
                    )
                )
    return found
