"""The file of a calibration.

Caught: a setting that is lost or turned into text, a file of another version or half a file that is
read all the same, settings that ``sample_losses`` does not take.
"""

import dataclasses
import inspect
import json
from pathlib import Path

import pytest

import stagewise
from stagewise.calibration.settings import Calibration, read, with_evidence, write
from stagewise.errors import SchemaError, StagewiseError
from stagewise.sampling.kernels import baoab, rmsprop_sgld, sgld
from stagewise.sampling.records import Schedule

FOUND = Calibration(
    kernel="baoab",
    step_size=1e-3,
    friction=0.3,
    n_beta=100.0,
    localization=10.0,
    potential="recentred",
    control_variate=True,
    batch_size=32,
    chains=16,
    burn_in=40,
    draws=50,
    spacing=2,
    evidence={"bias": 0.01, "acceptance": None, "local": True},
    table=({"phase": "step", "bias": None}, {"phase": "locality", "agreement": 0.9}),
)


def changed(path: Path, **values: object) -> Path:
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: one for key, one in content.items() if one != "gone"}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(FOUND, tmp_path / "found.json")
    return tmp_path / "found.json"


def test_what_is_written_is_read(path: Path) -> None:
    assert read(path) == FOUND


def test_settings_are_arguments_of_sample_losses() -> None:
    settings = FOUND.settings()
    assert set(settings) <= set(inspect.signature(stagewise.sample_losses).parameters)
    assert not {"evidence", "table"} & set(settings)
    assert settings["batch_size"] == 32


def test_kernel_and_schedule_are_those_of_the_settings() -> None:
    assert FOUND.make_kernel() == baoab.Kernel(1e-3, 0.3)
    assert FOUND.schedule() == Schedule(40, 50, 2)
    assert dataclasses.replace(FOUND, kernel="sgld", friction=None).make_kernel() == sgld.Kernel(
        1e-3
    )
    frozen = dataclasses.replace(FOUND, kernel="rmsprop_sgld", friction=None).make_kernel()
    assert frozen == rmsprop_sgld.Kernel(1e-3, 40)


def test_other_evidence_leaves_the_settings() -> None:
    other = with_evidence(FOUND, {"seconds_spent": 1.0})
    assert other.evidence == {"seconds_spent": 1.0}
    assert other.settings() == FOUND.settings()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "stagewise.trace"}, "is no calibration"),
        ({"schema_version": 99}, "has version 99, this code reads 1"),
        ({"spacing": "gone"}, r"differs from a calibration in \['spacing'\]"),
        ({"temperature": 1.0}, r"differs from a calibration in \['temperature'\]"),
    ],
)
def test_another_file_is_refused(path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read(changed(path, **change))


def test_half_a_file_and_no_file_are_refused(path: Path) -> None:
    path.write_text(path.read_text()[:-40])
    with pytest.raises(SchemaError, match="is not JSON"):
        read(path)
    path.write_text("[1]")
    with pytest.raises(SchemaError, match="is no calibration"):
        read(path)
    path.unlink()
    with pytest.raises(SchemaError, match="does not exist"):
        read(path)


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(StagewiseError, match="bias"):
        write(with_evidence(FOUND, {"bias": float("inf")}), tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
