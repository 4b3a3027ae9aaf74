"""Write stand-ins for ImageNet, WordNet and weights, to rehearse their run without a download."""

import shutil
import sys
from pathlib import Path

import torch

from stagewise.cli.stage import stage
from stagewise.data.standin import CLASSES, write_standin
from stagewise.errors import ConfigError
from stagewise.files import atomic_path
from stagewise.models.googlenet import build


def rehearsal(out: Path = Path("data/rehearsal")) -> None:
    """Writes made-up photographs, a dictionary and random weights of Inception-v1 into a folder.

    The folder is whole or absent: what a killed run left is deleted by the next.

    Raises:
        ConfigError: The folder is there.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already; delete it to have it written anew")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_standin(partial, CLASSES)
    with atomic_path(partial / "googlenet.pth") as temporary:
        torch.save(build(CLASSES).state_dict(), temporary)
    partial.rename(out)
    print(f"{out}: {CLASSES} classes with a picture each to train on and to hold out, and weights")


main = stage(rehearsal)

if __name__ == "__main__":
    sys.exit(main())
