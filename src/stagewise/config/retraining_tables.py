"""Settings of the stage that judges attributors by retraining."""

from typing import Annotated

from pydantic import Field

from stagewise.config.base import Count, Strict


class RetrainingTableStage(Strict):
    """What `retraining_tables` is told."""

    #: Root seed.
    seed: int
    #: Bootstrap draws behind every interval.
    resamplings: Annotated[int, Field(ge=100)]
    #: Chance that an interval holds the truth.
    level: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    #: Whether these are problems of ``make studies``, whose totals have keys of their own.
    study: bool = False
    #: Ways to halve the seeds that the split-half correlation is a mean over, at most.
    splits: Count = 8
