"""Settings of the conformance suite: which samplers are judged, on what, and how strictly."""

from typing import Literal

from pydantic import Field

from stagewise.config.base import Name, Positive, Strict

SamplerName = Literal[
    "stagewise_sgld",
    "stagewise_underdamped",
    "stagewise_baoab",
    "stagewise_mala",
    "stagewise_rmsprop_sgld",
    "devinterp_sgld",
    "devinterp_rmsprop_sgld",
    "posteriors_sgld",
    "posteriors_sghmc",
    "posteriors_baoa",
]


class JudgeSettings(Strict):
    """What every sampler is given and how it is judged; step sizes belong to the problems."""

    #: Problems, by the names of ``stagewise.conformance.problems.by_name``.
    problems: tuple[Name, ...] = Field(min_length=1)
    #: Independent chains; each gives one replicate of every statistic.
    chains: int = Field(ge=8)
    #: Recorded positions per chain.
    draws: int = Field(ge=2)
    #: f in (0, 1) of the samplers with momentum.
    friction: float = Field(gt=0, lt=1)
    #: Chance that a correct sampler fails a problem, over all entries that are compared.
    false_fail: float = Field(gt=0, le=0.05)
    #: Relative deviation from the target that passes where the law of the chain is not known.
    allowance: Positive


class ConformanceSettings(JudgeSettings):
    """The whole suite."""

    samplers: tuple[SamplerName, ...] = Field(min_length=1)

    def judge(self) -> JudgeSettings:
        """What one sampler's job depends on: not on which others there are."""
        return JudgeSettings(**self.model_dump(exclude={"samplers"}))


class ConformanceStage(Strict):
    """conformance: one sampler on all problems."""

    #: Root of the seed tree.
    seed: int
    sampler: SamplerName
    judge: JudgeSettings
