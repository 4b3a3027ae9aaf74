"""stagewise: local Bayesian influence, the loss kernel, and how both change as a network learns.

The public names are mapped lazily, so that ``import stagewise`` costs nothing and the array side
never pays for torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "sample_losses": "stagewise.api",
    "merge": "stagewise.api",
    "calibrate": "stagewise.calibration.model",
    "until_standard_error": "stagewise.calibration.stopping",
    "until_rank_stability": "stagewise.calibration.stopping",
    "bif": "stagewise.estimators.influence",
    "posterior_correlation": "stagewise.estimators.influence",
    "loss_kernel": "stagewise.estimators.kernels",
    "llc": "stagewise.estimators.local_learning",
    "diagnose": "stagewise.estimators.diagnostics",
    "gate": "stagewise.estimators.gates",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(
            f"module 'stagewise' has no attribute {name!r}; it has {sorted(__all__)}"
        )
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
