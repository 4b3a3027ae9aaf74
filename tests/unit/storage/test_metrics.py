"""Numbers that the paper quotes: whole, finite, written by one stage only."""

from pathlib import Path

import numpy as np
import pytest

from stagewise.errors import SchemaError
from stagewise.storage import metrics
from stagewise.storage.metrics import merge_numbers, number, read_numbers, write_numbers


def test_numbers_are_read_as_written(tmp_path: Path) -> None:
    """Catches numpy scalars that JSON cannot hold."""
    made = {
        "toy.modes.max_rel_error": number(np.float32(0.5), source="toy_modes"),
        "toy.peak": number(3, se=np.float64(0.25), n=5, unit="steps", source="toy_tables"),
        "toy.none": number(None, source="toy_tables"),
    }
    write_numbers(made, tmp_path / "n.json")
    read = read_numbers(tmp_path / "n.json")
    assert read["toy.peak"] == {
        "value": 3,
        "se": 0.25,
        "n": 5,
        "unit": "steps",
        "source": "toy_tables",
    }
    assert read["toy.none"]["value"] is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"toy": number(1.0, source="s")}, "key 'toy' is not words joined by dots"),
        ({"toy.a": {"value": 1.0}}, "toy.a needs exactly the fields"),
        ({"toy.a": number(float("nan"), source="s")}, "toy.a.value is nan"),
        ({"toy.a": number(1.0, se=-1.0, source="s")}, "need se ≥ 0"),
        ({"toy.a": number(1.0, n=0, source="s")}, "n ≥ 1"),
        ({"toy.a": number(1.0, source="")}, "source"),
        ({"toy.a": number(1.0, source="s") | {"value": "1e-4"}}, "toy.a.value is '1e-4'"),
    ],
)
def test_malformed_numbers_are_named(
    tmp_path: Path, entry: dict[str, object], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        write_numbers(entry, tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()


def test_a_key_of_two_stages_is_refused() -> None:
    """Catches a number that depends on the order in which files are merged."""
    parts = {"a.json": {"toy.x": number(1, source="a")}, "b.json": {"toy.y": number(2, source="b")}}
    assert list(merge_numbers(parts)) == ["toy.x", "toy.y"]
    with pytest.raises(SchemaError, match=r"toy\.x is in both a\.json and c\.json"):
        merge_numbers(parts | {"c.json": {"toy.x": number(1, source="c")}})


def test_metrics_are_read_as_written_and_shaped(tmp_path: Path) -> None:
    values = {"loss": np.arange(6.0).reshape(2, 3)}
    made = metrics.from_arrays(seed=[0, 1], step=[0, 5, 9], values=values)
    metrics.write(made, tmp_path / "m.nc")
    np.testing.assert_array_equal(metrics.read(tmp_path / "m.nc")["loss"], values["loss"])
    with pytest.raises(SchemaError, match="loss is float64 over .*transpose"):
        metrics.validate(made.transpose("step", "seed"))
    with pytest.raises(SchemaError, match=r"seed repeats \['0'\]"):
        metrics.from_arrays(seed=[0, 0], step=[0, 5, 9], values=values)
