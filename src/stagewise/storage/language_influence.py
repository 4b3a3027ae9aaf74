"""Influence between classes of tokens along one training, with errors and diagnostics.

``influence``, ``prior`` (nβ = 0), ``gradient`` (-g·g', first order in 1/γ) and ``kind`` are in the
BIF sense: mean over pairs of tokens in different sequences, negative = helpful, nats² (gradients:
nats² per squared unit of weight). ``correlation`` is a similarity, with the opposite sign. Every
one has an error over chains and one over sequences, to be added in squares. Replicates are whole
curves of resampled chains and sequences. Where a class has no pairs, values are NaN.
"""

import os

import xarray as xr

from stagewise.storage import netcdf
from stagewise.storage.schema import CHECKPOINT, Schema

#: Relations of two tokens of one class.
KINDS = ("same kind", "different kinds")
#: Moments at which influence is recorded token by token.
MOMENTS = ("before", "peak", "after")

_PAIR = (CHECKPOINT, "class", "other_class")
_KIND = (CHECKPOINT, "class", "relation")
_TEXT = ("moment", "shown", "token", "other_token")


def _measured(name: str, dims: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], str]]:
    return {f"{name}{end}": (dims, "f") for end in ("", "_chain_se", "_sequence_se")}


LANGUAGE_INFLUENCE = Schema(
    name="stagewise.language_influence",
    version=1,
    variables={
        **_measured("influence", _PAIR),
        **_measured("correlation", _PAIR),
        **_measured("prior", _PAIR),
        **_measured("gradient", _PAIR),
        **_measured("kind", _KIND),
        "influence_replicate": ((CHECKPOINT, "resample", "class", "other_class"), "f"),
        "gradient_replicate": ((CHECKPOINT, "resample", "class", "other_class"), "f"),
        "token_count": (("class",), "i"),
        # Loss at the checkpoint itself, mean over recorded tokens, nats.
        "loss": ((CHECKPOINT, "class"), "f"),
        # Covariance between chains of the mean loss of two classes: expectation 0.
        "null": (_PAIR, "f"),
        "null_se": (_PAIR, "f"),
        "null_z": (_PAIR, "f"),
        "drift_z": ((CHECKPOINT, "class"), "f"),
        "drift_relative": ((CHECKPOINT, "class"), "f"),
        # NaN at checkpoints that were not diagnosed.
        "rhat": ((CHECKPOINT,), "f"),
        "effective_draws": ((CHECKPOINT,), "f"),
        "llc": ((CHECKPOINT,), "f"),
        "llc_se": ((CHECKPOINT,), "f"),
        "llc_class": ((CHECKPOINT, "class"), "f"),
        "llc_class_se": ((CHECKPOINT, "class"), "f"),
        # Influence between the tokens of one sequence.
        "text_influence": (_TEXT, "f"),
        "text_se": (_TEXT, "f"),
        "text_class": (("shown", "token"), "i"),
        "text_step": (("moment",), "i"),
    },
    coords={
        "step": ((CHECKPOINT,), "i"),
        "class": (("class",), "U"),
        "relation": (("relation",), "U"),
        "moment": (("moment",), "U"),
        "shown_sequence": (("shown",), "U"),
        # What the predicted token reads as.
        "text": (("shown", "token"), "U"),
    },
    attrs=(
        "run",
        "run_seed",
        "learning_rate",
        "n_beta",
        "localization",
        "step_size",
        "n",
        "n_chains",
        "n_chains_dropped",
        "n_draws",
        "n_sequences",
        "centring",
    ),
)


def write(influence: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check it and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    LANGUAGE_INFLUENCE.validate(influence)
    netcdf.write(influence, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read it into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no such file.
    """
    influence = netcdf.read(path)
    LANGUAGE_INFLUENCE.validate(influence, str(path))
    return influence
