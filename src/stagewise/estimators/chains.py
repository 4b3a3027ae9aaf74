"""From a trace to the arrays of its surviving chains, and back to a labelled result."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool

from stagewise.errors import ConfigError, DivergenceError
from stagewise.estimators.covariance import Centring, resolve_centring, retained_fraction
from stagewise.storage.schema import CHECKPOINT
from stagewise.storage.sums import is_sums
from stagewise.storage.trace import valid_chains

Core = Callable[..., tuple[np.ndarray, ...]]

# They differ between equal runs, or describe the trace's file rather than its content.
_NOT_INHERITED = {"schema", "schema_version", "wall_seconds", "versions"}


def survivors(trace: xr.Dataset) -> Bool[np.ndarray, "*checkpoint chain"]:
    """Say which chains count: those that did not diverge.

    Raises:
        DivergenceError: Chains diverged and fewer than two are left at some checkpoint.
    """
    valid = valid_chains(trace)
    left = valid.sum(axis=-1)
    poor = (left < 2) & (left < valid.shape[-1])
    if poor.any():
        where = ""
        if valid.ndim == 2:
            where = f" at {int(poor.sum())} checkpoint(s), first step {_first_step(trace, poor)},"
        raise DivergenceError(
            f"of {valid.shape[-1]} chains{where} only {int(left.min())} stayed finite, at least 2 "
            f"are needed; lower step_size (ε = {trace.attrs.get('step_size')}) or raise "
            f"localization (γ = {trace.attrs.get('localization')}) and sample again"
        )
    return valid


def _first_step(trace: xr.Dataset, poor: np.ndarray) -> Any:
    index = int(np.flatnonzero(poor)[0])
    return trace["step"].values[index] if "step" in trace.coords else index


def over_survivors(
    core: Core, valid: Bool[np.ndarray, "*checkpoint chain"], *losses: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Apply a core to the chains that count, all checkpoints at once where that is possible.

    Args:
        core: Takes arrays (…, chain, draw, n), returns arrays that lead with the same dimensions.
        valid: Which chains count.
        losses: Arrays (…, chain, draw, n) or None, passed on.
    """
    first = valid.reshape(-1, valid.shape[-1])[0]
    if valid.all():
        return core(*losses)
    if (valid == first).all():
        return core(*[None if one is None else one[..., first, :, :] for one in losses])
    parts = [
        core(*[None if one is None else one[index][keep] for one in losses])
        for index, keep in enumerate(valid)
    ]
    return tuple(np.stack(arrays) for arrays in zip(*parts, strict=True))


def centring_for(centring: Centring, trace: xr.Dataset) -> Callable[[np.ndarray], Centring]:
    """Return the centring of an array of surviving chains, chosen by the chains that were run."""
    chains = trace.sizes["chain"]
    return lambda losses: resolve_centring(centring, chains, losses.shape[-3])


def need_draws(trace: xr.Dataset, what: str) -> None:
    """Raise ConfigError where only sums were kept of the draws."""
    if is_sums(trace):
        raise ConfigError(
            f"{what} needs the draws, and record='covariance' keeps none; record a trace (of fewer "
            "samples or chains, if it is too large)"
        )


def lead_dims(trace: xr.Dataset) -> tuple[str, ...]:
    """Return ("checkpoint",) where the trace has that dimension, else ()."""
    return (CHECKPOINT,) if CHECKPOINT in trace["status"].dims else ()


def lead_coords(trace: xr.Dataset) -> dict[str, Any]:
    """Return the coordinates that lie along the checkpoint dimension."""
    coords = trace.coords.items()
    return {str(name): array for name, array in coords if array.dims == (CHECKPOINT,)}


def inherited(trace: xr.Dataset, valid: np.ndarray) -> dict[str, Any]:
    """Return the attributes a result carries on, with the count of chains left out."""
    kept = {k: v for k, v in trace.attrs.items() if k not in _NOT_INHERITED}
    return kept | {
        "n_chains": trace.sizes["chain"],
        "n_draws": trace.sizes["draw"],
        "n_chains_dropped": int((~valid).sum()),
        "n_chains_left_min": int(valid.sum(axis=-1).min()),
    }


def centring_report(
    trace: xr.Dataset, valid: np.ndarray, centring: Centring, losses: np.ndarray
) -> dict[str, Any]:
    """Say how losses were centred, and how much of their variance that keeps.

    Centring across chains keeps all of it; centring within a chain loses slow modes, and the
    estimated retained fraction is reported: smallest and median over losses and checkpoints.
    """
    chosen = resolve_centring(centring, trace.sizes["chain"])
    if chosen == "across":
        return {"centring": chosen}
    (fraction,) = over_survivors(lambda x: (retained_fraction(x),), valid, losses)
    return {
        "centring": chosen,
        "retained_fraction_min": float(fraction.min()),
        "retained_fraction_median": float(np.median(fraction)),
    }
