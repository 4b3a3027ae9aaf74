"""Settings of the study of the loss kernels of images, beside each run's own grid of settings."""

from typing import Annotated

from pydantic import Field

from stagewise.config.base import Count, Name, NonNegative, Positive, Strict

Seed = Annotated[int, Field(ge=0)]


class VisionStudySettings(Strict):
    """What ``make studies`` adds to every run that has a grid."""

    #: Draws of each chain of one long kernel, by the settings of the main runs.
    long_draws: Count
    #: Its chains of one job.
    long_block: Count


class StudiedKernel(Strict):
    """One kernel of the study."""

    #: Name of its job, which its file has too.
    name: Name
    #: Inverse temperature times samples, strength of the pull back and step, of its sampling.
    n_beta: NonNegative
    localization: Positive
    step_size: Positive


class SensitivityStage(Strict):
    """What the table of the study is told."""

    seed: Seed
    #: Name of the run, and whether its keys leave it out.
    run: Name
    main: bool
    permutations: int = Field(ge=2)
    #: Kernels of the grid, in its order; none in the study of many draws.
    grid: tuple[StudiedKernel, ...]
