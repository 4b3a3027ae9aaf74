"""What each stage of the toy experiment is told: the part of the config that its result depends on.

A rule passes one of these as JSON, so that a changed setting reruns only the stages that use it.
"""

from stagewise.config.base import Name, Strict
from stagewise.config.toy import (
    DiagnosticsSettings,
    MixtureSettings,
    ModesSettings,
    SamplingSettings,
    TrainingSettings,
    TreeSettings,
    WindowSettings,
)


class TreeStage(Strict):
    """toy_train, toy_trajectory, toy_retrain and toy_representations."""

    #: Root of the seed tree.
    seed: int
    #: Name of the tree, part of the names of its random streams.
    name: Name
    tree: TreeSettings
    training: TrainingSettings


class ModesStage(TreeStage):
    """toy_modes."""

    modes: ModesSettings


class WindowsStage(TreeStage):
    """toy_windows."""

    windows: WindowSettings


class LawStage(TreeStage):
    """toy_law: every training seed that the row samples."""

    row: Name
    sampling: SamplingSettings


class SampleStage(LawStage):
    """toy_sample: one training seed of one row."""

    training_seed: int


class EstimateStage(Strict):
    """toy_estimate: the tree tells which pairs are averaged."""

    tree: TreeSettings
    #: Null for a row that is not gated: R-hat and ESS cost more than the estimates.
    diagnostics: DiagnosticsSettings | None


class MixtureStage(Strict):
    """toy_mixture."""

    seed: int
    mixture: MixtureSettings


class TablesStage(Strict):
    """toy_tables and toy_sweep_table: trees and sampling rows by name."""

    trees: dict[Name, TreeSettings]
    rows: dict[Name, SamplingSettings]


class DiagnosticsStage(Strict):
    """toy_diagnostics: the gates."""

    diagnostics: DiagnosticsSettings
