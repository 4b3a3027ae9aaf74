"""Provenance says what made a file, and nothing that changes by itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stagewise.errors import SchemaError
from stagewise.files import sha256_file
from stagewise.provenance import provenance


def test_the_same_work_gives_the_same_record_anywhere(tmp_path: Path) -> None:
    """Catches times, hosts and absolute paths, which would change hashes between equal runs."""
    records = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "in.nc").write_bytes(b"content")
        records.append(provenance("toy_train", {"b": 1, "a": 2.5}, {"data": folder / "in.nc"}))
    assert records[0] == records[1]
    assert str(tmp_path) not in json.dumps(records[0])
    assert records[0]["inputs"] == {"data": sha256_file(tmp_path / "here" / "in.nc")}
    assert {"python", "numpy", "stagewise"} <= set(records[0]["versions"])


def test_settings_and_content_change_the_record(tmp_path: Path) -> None:
    """Catches a record that leaves out what it should vouch for."""
    (tmp_path / "in").write_bytes(b"one")
    first = provenance("s", {"a": 1}, {"in": tmp_path / "in"})
    assert provenance("s", {"a": 2}, {"in": tmp_path / "in"}) != first
    (tmp_path / "in").write_bytes(b"two")
    assert provenance("s", {"a": 1}, {"in": tmp_path / "in"})["inputs"] != first["inputs"]


def test_a_folder_is_hashed_by_the_names_and_content_of_its_files(tmp_path: Path) -> None:
    """Catches a hash that depends on listing order or misses a renamed file."""
    records = []
    for name, files in (("a", ["x", "y"]), ("b", ["y", "x"]), ("c", ["x", "z"])):
        for file in files:
            (tmp_path / name / "deep").mkdir(parents=True, exist_ok=True)
            content = "y" if file == "z" else file
            (tmp_path / name / "deep" / file).write_text(content)
        records.append(provenance("s", {}, {"in": tmp_path / name})["inputs"]["in"])
    assert records[0] == records[1] != records[2]


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="trace does not exist"):
        provenance("s", {}, {"trace": tmp_path / "none.nc"})


def test_torch_is_recorded_where_loaded_and_never_loaded_for_it() -> None:
    """Catches an import of torch on the array side, seconds at every start."""
    code = """
import sys, types
from stagewise.provenance import versions
assert "torch" not in versions() and "torch" not in sys.modules
sys.modules["torch"] = types.SimpleNamespace(__version__="9.9")
assert versions()["torch"] == "9.9"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
