"""Messages of the settings of image networks.

Caught: a run that trains a network and then fails for want of images, or goes on with fewer.
"""

import copy
from typing import Any

import pytest
import yaml

from stagewise.config.base import parse
from stagewise.config.vision import FACE_COUNT, VisionSettings
from stagewise.data.glyphs import faces
from stagewise.errors import ConfigError
from support.repository import ROOT


def default(**changes: Any) -> dict[str, Any]:
    """The default settings, with changes to the run's parts: ``sampling={"driving": 3}``."""
    text = (ROOT / "config" / "default.yaml").read_text(encoding="utf-8")
    found = copy.deepcopy(yaml.safe_load(text)["vision"])
    run = found["runs"]["glyphs"]
    for key, value in changes.items():
        run[key] = run[key] | value if isinstance(value, dict) else value
    return found


def test_faces_are_counted_as_they_are() -> None:
    """The settings may not import the list."""
    assert len(faces()) == FACE_COUNT


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": {"driving": 300}},
        {"sampling": {"driving": None}},
        {"source": {"held_faces": 15}, "recorded": 15 * 205},
        {"mislabel": {"queries": 205 * 4 * 2}},
        {"recorded": 205 * 4},
    ],
)
def test_what_is_just_allowed(changes: dict[str, Any]) -> None:
    parse(VisionSettings, default(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling": {"driving": 299}}, r"driving is 299; allowed are 300.*raise it"),
        ({"source": {"held_faces": 16}}, r"held_faces is 16; allowed are 1 to 15.*fewer"),
        ({"mislabel": {"queries": 1641}}, r"queries is 1641; allowed are 2 to 1640.*lower it"),
        ({"recorded": 824}, r"recorded is 824; allowed are multiples of 4.*820.*change it"),
        ({"recorded": 518}, r"recorded is 518; allowed are multiples of 4"),
    ],
)
def test_what_there_is_not_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(VisionSettings, default(**changes))
