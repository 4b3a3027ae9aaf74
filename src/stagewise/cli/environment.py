"""Write workflow/envs/stagewise.yaml, the rules' conda environment, from requirements.lock."""

import re
import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.errors import ConfigError
from stagewise.files import atomic_path

_HEADER = """\
# Written by `python -m stagewise.cli.environment` from requirements.lock; not by hand.
# Used only with `snakemake --sdm conda`; the post-deploy script beside it adds the package.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={python}
  - pip
  - pip:
"""


def environment(
    lock: Path = Path("requirements.lock"),
    out: Path = Path("workflow/envs/stagewise.yaml"),
    python: str = "3.11",
) -> None:
    """Writes every pin of the lock, without its hashes, as one conda environment."""
    pins = read_pins(lock)
    lines = "".join(f'      - "{pin}"\n' for pin in pins)
    with atomic_path(out) as temporary:
        temporary.write_text(_HEADER.format(python=python) + lines, encoding="utf-8")


def read_pins(lock: Path) -> list[str]:
    """Returns the requirements of a pip-compile lock, environment markers kept.

    Raises:
        ConfigError: The lock has no pins.
    """
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^([A-Za-z0-9][^\s=]*==[^\\\n]+?)\s*\\?$", text, flags=re.MULTILINE)
    if not pins:
        raise ConfigError(f"{lock} has no line of the form name==version: run `make lock`")
    return pins


main = stage(environment)

if __name__ == "__main__":
    sys.exit(main())
