"""Time of work that a device does on its own."""

import time
from collections.abc import Callable
from typing import Any

import torch


def timed(device: torch.device, work: Callable[[], Any]) -> float:
    """Return the seconds of some work, of the device's own part of it too."""
    synchronize(device)
    begun = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begun


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
