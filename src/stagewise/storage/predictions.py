"""What sampling runs of a study predict of retraining, cell by cell."""

from stagewise.storage.schema import Schema

PREDICTIONS = Schema(
    name="stagewise.retraining_predictions",
    version=1,
    variables={
        # Σ_{i∈S} s(q, i); NaN where the chains diverged.
        "prediction": (("cell", "subset", "query"), "f"),
        # Wall seconds of the chains, and with those of the calibration before them.
        "seconds": (("cell",), "f"),
        "seconds_all": (("cell",), "f"),
        # Full gradients' worth of samples that the chains passed, in all.
        "passes": (("cell",), "f"),
        # γ/nβ that was sampled.
        "damping": (("cell",), "f"),
        "dropped": (("cell",), "i"),
    },
    coords={"cell": (("cell",), "U")},
)
