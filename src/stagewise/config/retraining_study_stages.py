"""What the stages of the study of retraining are told."""

from pydantic import Field

from stagewise.config.base import Count, Name, Strict
from stagewise.config.retraining import ProblemStage, SampledSettings
from stagewise.config.retraining_study import Cell, HandSettings


class SensitivityStage(ProblemStage):
    """What a job on some cells is told."""

    sampled: SampledSettings
    by_hand: dict[Name, HandSettings]
    cells: tuple[Cell, ...] = Field(min_length=1)


class SensitivityTableStage(Strict):
    """What the table of the study is told."""

    seed: int = Field(ge=0)
    problem: Name
    #: Optimiser step of every stored checkpoint.
    steps: tuple[Count, ...]
    cells: tuple[Cell, ...] = Field(min_length=1)
    resamplings: int = Field(ge=100)
