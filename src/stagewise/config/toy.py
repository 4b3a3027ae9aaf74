"""Settings of the toy experiment: hierarchical data, two-layer linear network (Saxe et al. 2019).

Units: steps are optimiser steps (training) or Langevin steps (sampling); losses are
l = 1/2 |y - W2 W1 x|^2; the step size is epsilon, the inverse temperature times n is ``n_beta``
and the localization is gamma, all as in docs/architecture.md.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict

Nested = list[Any]


class TreeSettings(Strict):
    """A tree of items: ``branching`` for a balanced one or ``nested`` lists of leaf names."""

    branching: tuple[Count, ...] | None = None
    nested: Nested | None = None
    #: Value of a node's feature on the items below it, by depth, root first.
    feature_weights: tuple[Positive, ...]

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.branching is None) == (self.nested is None):
            raise ValueError("give either 'branching' or 'nested', one of the two")
        return self


class TrainingSettings(Strict):
    """Full-batch gradient descent on L_n, the mean over items; tau = n / learning_rate steps."""

    hidden: Count
    learning_rate: Positive
    steps: Count
    #: Checkpoints, evenly spaced over the run, first and last step included.
    checkpoints: int = Field(ge=2)
    #: Standard deviation of the Gaussian initial weights (Saxe et al. use a small one).
    init_scale: Positive
    #: Number of training seeds, trained as one batch; seed 0 is the pilot where one is needed.
    seeds: Count


class ModesSettings(Strict):
    """Initialisations whose mode strengths are compared with exact solutions."""

    #: a_k(0) of the aligned balanced initialisation, as a product of the two layers' strengths.
    aligned_strength: Positive
    #: Scale of the random balanced initialisation.
    balanced_scale: Positive


class SamplingSettings(Strict):
    """One row of the table of sampling runs; the row's name is its identity in the workflow."""

    kernel: Literal["sgld", "underdamped", "rmsprop_sgld", "mala"] = "sgld"
    potential: Literal["plain", "recentred"] = "plain"
    #: ``exact`` samples the network's own (quartic) loss, ``quadratic`` its second-order model.
    loss: Literal["exact", "quadratic"] = "exact"
    n_beta: NonNegative
    localization: Positive
    step_size: Positive
    friction: float = Field(default=1.0, gt=0, le=1)
    chains: int = Field(ge=2)
    burn_in: int = Field(ge=0)
    draws: int = Field(ge=2)
    spacing: Count = 1
    #: Training seeds that are sampled.
    seeds: tuple[int, ...] = Field(min_length=1)
    #: Every ``stride``-th checkpoint is sampled.
    stride: Count = 1
    trees: tuple[Name, ...] = Field(min_length=1)


class WindowSettings(Strict):
    """An item is dropped only during a window; windows are equally long and overlap."""

    count: int = Field(ge=2)
    #: Length of a window in steps.
    width: Count


class SweepSettings(Strict):
    """Grid over (n_beta, localization, relaxation); the other settings come from row ``base``.

    A step size alone would not compare like with like: at the same one a weak localization leaves
    the chains short of their relaxation, and it alone would be blamed.
    """

    base: Name
    n_beta: tuple[NonNegative, ...] = Field(min_length=1)
    localization: tuple[Positive, ...] = Field(min_length=1)
    #: Product of step size and localization: in a direction without curvature of its own a chain
    #: moves by half of this share towards the centre at each step, whatever the localization.
    relaxation: tuple[Positive, ...] = Field(min_length=1)
    chains: int = Field(ge=2)
    burn_in: int = Field(ge=0)
    draws: int = Field(ge=2)
    spacing: Count
    seeds: tuple[int, ...] = Field(min_length=1)
    stride: Count
    tree: Name

    def rows(self, prefix: str, base: SamplingSettings) -> dict[str, SamplingSettings]:
        """The grid as rows of the sampling table, named ``prefix_b{i}_g{j}_r{k}``."""
        shared = base.model_dump() | {
            name: getattr(self, name)
            for name in ("chains", "burn_in", "draws", "spacing", "seeds", "stride")
        }
        shared["trees"] = (self.tree,)
        return {
            f"{prefix}_b{i}_g{j}_r{k}": SamplingSettings(
                **(shared | {"n_beta": n_beta, "localization": gamma, "step_size": share / gamma})
            )
            for i, n_beta in enumerate(self.n_beta)
            for j, gamma in enumerate(self.localization)
            for k, share in enumerate(self.relaxation)
        }


class MixtureSettings(Strict):
    """The double well: two phases whose masses a control moves from one to the other."""

    n_beta: Positive
    localization: Positive
    barrier: Positive
    tilt: Positive
    slopes: tuple[float, ...] = Field(min_length=2)
    #: Values of the control, evenly spaced over [-1, 1].
    controls: int = Field(ge=3)
    step_size: Positive
    chains: int = Field(ge=8)
    burn_in: int = Field(ge=0)
    draws: int = Field(ge=2)
    spacing: Count


class Thresholds(Strict):
    """Limits of a diagnostic: at or beyond ``warn`` it is reported, beyond ``fail`` it stops."""

    warn: Positive
    fail: Positive


class DiagnosticsSettings(Strict):
    """Gates of the sampler (R-hat and ESS: Vehtari et al. 2021; null and drift: Method section)."""

    #: Every ``stride``-th sampled checkpoint is diagnosed.
    stride: Count
    rhat: Thresholds
    #: Bulk effective sample size; here values *below* the limits warn or fail.
    ess: Thresholds
    #: Chance that sound chains are warned about, or failed, by the null or by the drift statistic,
    #: over everything that is judged together.
    false_alarm: Thresholds


class ToySettings(Strict):
    """The whole toy experiment."""

    trees: dict[Name, TreeSettings] = Field(min_length=1)
    training: TrainingSettings
    modes: ModesSettings
    sampling: dict[Name, SamplingSettings] = Field(min_length=1)
    windows: WindowSettings
    sweeps: dict[Name, SweepSettings]
    mixture: MixtureSettings
    diagnostics: DiagnosticsSettings

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for row, sampling in self.all_rows().items():
            for tree in sampling.trees:
                _known(f"toy.sampling.{row}.trees", tree, self.trees)
            for seed in sampling.seeds:
                if not 0 <= seed < self.training.seeds:
                    raise ValueError(
                        f"toy.sampling.{row}.seeds names seed {seed}; "
                        f"toy.training.seeds trains seeds 0 to {self.training.seeds - 1}"
                    )
        if self.windows.width > self.training.steps:
            raise ValueError(
                f"toy.windows.width is {self.windows.width} steps, "
                f"longer than toy.training.steps = {self.training.steps}"
            )
        return self

    def all_rows(self) -> dict[str, SamplingSettings]:
        """Sampling rows by name, those of the sweeps included."""
        rows = dict(self.sampling)
        for name, sweep in self.sweeps.items():
            _known(f"toy.sweeps.{name}.base", sweep.base, self.sampling)
            rows |= sweep.rows(name, self.sampling[sweep.base])
        return rows


def _known(where: str, name: str, table: dict[str, Any]) -> None:
    if name not in table:
        raise ValueError(f"{where} names {name!r}; the config has {', '.join(sorted(table))}")
