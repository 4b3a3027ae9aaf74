"""The public face: sample the losses of your own model in a few lines.

    trace = stagewise.sample_losses(
        model, functools.partial(F.cross_entropy, reduction="none"), (inputs, targets),
        n_beta=100.0, localization=1000.0, step_size=1e-4, draws=200, burn_in=200,
    )
    influence = stagewise.bif(trace)

``bif``, ``posterior_correlation``, ``loss_kernel`` and ``llc`` turn the trace into labelled arrays.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from stagewise.errors import ConfigError
from stagewise.files import scratch_folder, sha256_json
from stagewise.models.module import LossFunction, ModuleLoss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Kind, Potential, number
from stagewise.sampling.records import RunResult, Schedule, trace_bytes
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import trace as trace_file

Data = tuple[Any, Any] | Sized

#: Fewest chains that an estimate with a standard error can be made from.
FEWEST_CHAINS = 2


def sample_losses(
    model: nn.Module,
    loss_fn: LossFunction,
    data: Data,
    *,
    n_beta: float,
    localization: float,
    step_size: float,
    draws: int,
    burn_in: int,
    spacing: int = 1,
    chains: int = 8,
    kernel: by_name.Name = "sgld",
    friction: float | None = None,
    adapt: bool = False,
    potential: Kind = "plain",
    batch_size: int | None = None,
    queries: Data | None = None,
    checkpoints: Sequence[Mapping[str, Tensor]] | None = None,
    restrict: str | Sequence[str] | None = None,
    sample_ids: Sequence[str] | None = None,
    query_ids: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    seed: int = 0,
    experiment: str = "api",
    vectorize: bool = True,
    scratch: str | Path | None = None,
    most_bytes: int = 4 * 2**30,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """Sample about one or many checkpoints and record every sample's loss at every draw.

    The chains descend U(w) = n_beta L_n(w) + (localization/2) |w - w*|^2 (or its recentred form)
    with Langevin steps; theory and traps stand with the kernels in ``stagewise.sampling``.

    Args:
        model: Any module; it is copied and run in eval mode with its buffers frozen.
        loss_fn: (output, targets) -> one loss per sample, 1-D, in nats.
        data: (inputs, targets), first dimension the sample; or a dataset of such pairs.
        n_beta: Inverse temperature times n; 0 samples the law that no data enters, N(w*, I/γ).
        localization: > 0, per squared unit of weight.
        step_size: > 0; stable while step_size times the largest curvature of U is below 4.
        draws: Recorded positions per chain.
        burn_in: Steps before the first of them counts.
        spacing: Steps per draw.
        chains: Independent chains per checkpoint, at least 2; from 8 on, estimates are free of
            centring bias.
        kernel: "sgld", "underdamped", "rmsprop_sgld" or "mala".
        friction: In (0, 1], for "underdamped".
        adapt: "rmsprop_sgld" goes on adapting after burn-in (which changes the law).
        potential: "plain" or "recentred" (every checkpoint stationary; another law).
        batch_size: Samples per minibatch, drawn with replacement; None takes the full gradient.
        queries: Further data whose losses are recorded but don't drive the chain.
        checkpoints: State dicts, buffers included; None samples the model as it is, and the trace
            has no checkpoint dimension.
        restrict: ``fnmatch`` pattern(s) of names of parameters that move; None moves all.
        sample_ids: Permanent ids of the samples; None numbers them.
        query_ids: Permanent ids of the queries; None numbers them.
        steps: Optimiser step of each checkpoint; None numbers them.
        seed: Root seed; chain k's noise is a function of (seed, experiment, k) alone.
        experiment: Name of the streams.
        vectorize: Run all replicas in one batched call; False saves memory on large models.
        scratch: Folder under which an interrupted run keeps its state; calling again resumes.
        most_bytes: The run is refused if its trace would be larger.
        progress: Called with (steps taken, steps in all).

    Returns:
        The trace: ``excess_loss`` ([checkpoint,] chain, draw, sample) and what belongs to it. A
        chain that diverged has status 1 and NaN from its ``diverged_step`` on; nothing is raised.

    Raises:
        ConfigError: If a setting is out of range or of the wrong type, data or checkpoints don't
            fit, loss_fn isn't per sample, a loss at a checkpoint isn't finite, or the trace would
            be too large. The message names the remedy.
    """
    _check_counts(chains=(chains, FEWEST_CHAINS), batch_size=(batch_size, 1), seed=(seed, 0))
    number(n_beta, "n_beta", positive=False)
    schedule = Schedule(burn_in, draws, spacing)
    frozen_after = burn_in if kernel == "rmsprop_sgld" and not adapt else None
    moves = by_name.make(kernel, step_size, friction=friction, adapt_steps=frozen_after)
    loss = ModuleLoss(
        model,
        loss_fn,
        *_tensors(data, "data", model),
        restrict,
        checkpoints=checkpoints,
        vectorize=vectorize,
    )
    also = None if queries is None else loss.with_data(*_tensors(queries, "queries", model))
    names = _Names(
        _ids(sample_ids, loss, "sample_ids"),
        None if also is None else _ids(query_ids, also, "query_ids"),
        _steps(steps, checkpoints),
    )
    _check_size(loss, also, chains, draws, most_bytes)
    target = Potential(loss, loss.centre, n_beta, localization, potential)
    attrs = {
        "n_beta": target.n_beta,
        "localization": target.localization,
        "step_size": float(step_size),
        "friction": 1.0 if friction is None else float(friction),
        "kernel": kernel,
        "potential": potential,
        "loss": f"{type(model).__name__}/{_name_of(loss_fn)}",
        "batch_size": batch_size or 0,
        "n": loss.sample_count,
        "seed": seed,
        "experiment": experiment,
        "versions": versions(),
        **_hashes(loss, also, [repr(moves), repr(schedule), chains, restrict, *names]),
    }
    streams = NoiseStreams(
        seed,
        experiment,
        chains,
        loss.parameter_count,
        batch_size=batch_size,
        sample_count=loss.sample_count,
        dtype=loss.centre.dtype,
        device=loss.centre.device,
    )
    identity = {**attrs, "code": loaded_code()}
    with nullcontext() if scratch is None else scratch_folder(scratch, identity) as folder:
        result = run(
            moves, target, streams, schedule, queries=also, scratch=folder, progress=progress
        )
    return _trace(result, names, attrs)


class _Names(NamedTuple):
    """Permanent ids, and the checkpoints' steps where there is a checkpoint dimension."""

    samples: list[str]
    queries: list[str] | None
    steps: list[int] | None


def _trace(result: RunResult, names: _Names, attrs: dict[str, Any]) -> xr.Dataset:
    """Label a run's arrays; without ``steps`` the one checkpoint's dimension goes."""
    arrays = {
        field.name: getattr(result, field.name)
        for field in dataclasses.fields(result)
        if isinstance(getattr(result, field.name), np.ndarray)
    }
    if names.steps is None:
        arrays = {name: array[0] for name, array in arrays.items()}
    spent = {"wall_seconds": result.wall_seconds, "chain_steps": result.chain_steps}
    if "accepted" in result.info:
        spent["acceptance"] = float(np.nanmean(result.info["accepted"]))
    return trace_file.from_arrays(
        **arrays,
        sample=names.samples,
        query=names.queries,
        step=names.steps,
        attrs={**attrs, **spent},
    )


def _tensors(data: Data, name: str, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Return inputs and targets on the model's device."""
    if not isinstance(data, tuple | list) or len(data) != 2 or isinstance(data[0], tuple):
        try:
            data = tuple(zip(*(data[index] for index in range(len(data))), strict=True))
            data = tuple(torch.stack([torch.as_tensor(one) for one in column]) for column in data)
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise ConfigError(
                f"{name} is {type(data).__name__}; pass (inputs, targets), or a dataset with a "
                "length whose items are such pairs of equal shapes"
            ) from error
    device = next(iter([*model.parameters(), *model.buffers(), torch.empty(0)])).device
    inputs, targets = (torch.as_tensor(one).to(device) for one in data)
    return inputs, targets


def _ids(ids: Sequence[str] | None, loss: ModuleLoss, name: str) -> list[str]:
    count = loss.sample_count
    found = [str(one) for one in (range(count) if ids is None else ids)]
    if len(found) != count or len(set(found)) != count:
        raise ConfigError(
            f"{name} has {len(found)} ids, {len(set(found))} distinct, for {count} samples; "
            "give each its own"
        )
    reference = loss.reference(loss.centre)
    bad = (~torch.isfinite(reference)).nonzero().tolist()
    if bad:
        raise ConfigError(
            f"the loss of {found[bad[0][1]]!r} at checkpoint {bad[0][0]} is not finite ({len(bad)} "
            "such losses in all); leave these samples out, or look for NaN in inputs and weights"
        )
    return found


def _steps(steps: Sequence[int] | None, checkpoints: Sequence[Any] | None) -> list[int] | None:
    """Return a step per checkpoint; None where the model itself is the only one."""
    count = 0 if checkpoints is None else len(checkpoints)
    if steps is not None and len(steps) != count:
        raise ConfigError(
            f"{len(steps)} steps for {count} checkpoints; give one optimiser step per state dict"
        )
    return None if checkpoints is None else list(range(count) if steps is None else steps)


def _check_counts(**counts: tuple[int | None, int]) -> None:
    """Raise ConfigError unless each value, where given, is an integer that is large enough."""
    for name, (value, least) in counts.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} is {value!r}; it must be an integer, at least {least}")


def _check_size(
    loss: ModuleLoss, also: ModuleLoss | None, chains: int, draws: int, most: int
) -> None:
    queries = 0 if also is None else also.sample_count
    size = trace_bytes(len(loss.centre), chains, draws, loss.sample_count, queries)
    if size > most:
        raise ConfigError(
            f"the trace would take {size / 2**30:.2f} GiB, more than the ceiling of "
            f"{most / 2**30:.2f}; use fewer draws, chains, checkpoints or samples (or a larger "
            "spacing with fewer draws), or raise most_bytes"
        )


def _hashes(loss: ModuleLoss, also: ModuleLoss | None, settings: list[Any]) -> dict[str, str]:
    """Return content hashes of the checkpoints, the data and the remaining settings."""
    data = [loss.inputs, loss.targets, *((also.inputs, also.targets) if also else ())]
    return {
        "checkpoint_hash": _hash(loss.weights()),
        "data_hash": _hash(data),
        "settings_hash": sha256_json(settings),
    }


def _hash(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _name_of(function: Callable[..., Any]) -> str:
    inner = getattr(function, "func", function)  # functools.partial
    return getattr(inner, "__name__", type(inner).__name__)
