"""The whole configuration: one model, from which config/schema.json is generated."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from stagewise.config.base import Name, Strict, parse
from stagewise.config.bench import BenchSettings
from stagewise.config.calibration import CalibrationSettings
from stagewise.config.conformance import ConformanceSettings
from stagewise.config.language import LanguageSettings
from stagewise.config.multitask import MultitaskSettings
from stagewise.config.retraining import RetrainingSettings
from stagewise.config.scaling import ScalingSettings
from stagewise.config.toy import ToySettings
from stagewise.config.vision import VisionSettings
from stagewise.config.vision_study import VisionStudySettings


class Root(Strict):
    """Top level of every config file."""

    #: Name of the run; printed in the paper. ``default`` alone may write the expected record.
    name: Name
    #: Root of the named seed tree.
    seed: int = Field(ge=0)
    #: Folder of everything that is computed.
    results: str = Field(min_length=1)
    #: Folder of the tables behind the figures; null means ``{results}/tables``.
    tables: str | None = None
    #: Folder where the paper is built; null means ``paper``.
    paper: str | None = None
    toy: ToySettings
    conformance: ConformanceSettings
    calibration: CalibrationSettings
    language: LanguageSettings
    multitask: MultitaskSettings
    vision: VisionSettings
    scaling: ScalingSettings
    vision_study: VisionStudySettings
    retraining: RetrainingSettings
    bench: BenchSettings


def load(mapping: Mapping[str, Any]) -> Root:
    """Validate a whole configuration.

    Raises:
        ConfigError: naming the key, the value, what is allowed and the remedy.
    """
    return parse(Root, mapping)
