"""Who made a file, from what: versions and content hashes, and nothing that changes by itself.

No times, hosts or absolute paths, so that the same stage on the same content gives the same record.
"""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stagewise import __version__
from stagewise.errors import SchemaError
from stagewise.files import sha256_file, sha256_json


def provenance(
    stage: str, settings: Mapping[str, Any], inputs: Mapping[str, Path]
) -> dict[str, Any]:
    """Describe how an output came to be.

    Args:
        stage: Name of the stage that makes the output.
        settings: The stage's settings, as JSON would hold them.
        inputs: Name -> file (or folder) the stage reads.

    Returns:
        ``stage``; ``versions`` of python, numpy, stagewise, and of torch where it is loaded;
        ``settings_sha256``; ``inputs``, the sha256 of each by name.

    Raises:
        SchemaError: An input does not exist.
        StagewiseError: A setting is NaN or infinite.
    """
    return {
        "stage": stage,
        "versions": versions(),
        "settings_sha256": sha256_json(dict(settings)),
        "inputs": {name: _hash(name, Path(path)) for name, path in sorted(inputs.items())},
    }


def versions() -> dict[str, str]:
    """Return the versions of what can change a number: python, numpy, stagewise, torch if loaded.

    Torch is looked up, never imported: a stage that does not use it must not pay for it.
    """
    found = {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "stagewise": __version__,
    }
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "__version__"):
        found["torch"] = str(torch.__version__)
    return found


def loaded_code() -> str:
    """Return one hash of the source of every stagewise module that this process has loaded.

    Part of the identity of a job's saved state: a job never resumes from what other code left.
    """
    modules = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    paths = {name: getattr(module, "__file__", None) for name, module in modules.items()}
    return sha256_json({name: sha256_file(path) for name, path in paths.items() if path})


def _is_ours(name: str) -> bool:
    return name == "stagewise" or name.startswith("stagewise.")


def _hash(name: str, path: Path) -> str:
    if path.is_file():
        return sha256_file(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return sha256_json({file.relative_to(path).as_posix(): sha256_file(file) for file in files})
    raise SchemaError(f"input {name} does not exist: {path}; run the stage that makes it first")
