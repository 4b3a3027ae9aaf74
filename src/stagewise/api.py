"""The public face: sample the losses of your own model in a few lines.

    trace = stagewise.sample_losses(
        model, functools.partial(F.cross_entropy, reduction="none"), (inputs, targets),
        n_beta=100.0, localization=1000.0, step_size=1e-4, draws=200, burn_in=200,
    )
    influence = stagewise.bif(trace)

``bif``, ``posterior_correlation``, ``loss_kernel`` and ``llc`` turn the trace into labelled arrays;
``merge`` joins blocks of chains that were sampled as separate jobs.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from stagewise.calibration.stopping import StoppingRule
from stagewise.data.pairs import Data, content_hash, parts, permanent_ids, tensors, token_ids
from stagewise.errors import ConfigError
from stagewise.estimators.accumulator import CovarianceSums, sums_bytes
from stagewise.estimators.covariance import resolve_centring
from stagewise.files import scratch_folder, sha256_json
from stagewise.models.module import LossFunction, ModuleLoss
from stagewise.provenance import loaded_code, versions
from stagewise.sampling.kernels import by_name
from stagewise.sampling.potential import Kind, Potential, number
from stagewise.sampling.progress import bar
from stagewise.sampling.records import RunResult, Schedule, trace_bytes
from stagewise.sampling.runner import Until, run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage import sums as sums_file
from stagewise.storage import trace as trace_file

Record = Literal["trace", "covariance"]
Progress = Callable[[int, int], None]

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
    chains: int | Sequence[int] = 8,
    kernel: by_name.Name = "sgld",
    friction: float | None = None,
    adapt: bool = False,
    potential: Kind = "plain",
    control_variate: bool = False,
    batch_size: int | None = None,
    queries: Data | None = None,
    checkpoints: Sequence[Mapping[str, Tensor]] | None = None,
    restrict: str | Sequence[str] | None = None,
    per_token: bool = False,
    sample_ids: Sequence[str] | None = None,
    query_ids: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    seed: int = 0,
    experiment: str = "api",
    vectorize: bool | None = None,
    until: Until | None = None,
    record: Record = "trace",
    groups: int | None = None,
    scratch: str | Path | None = None,
    most_bytes: int = 4 * 2**30,
    progress: bool | Progress | None = None,
) -> xr.Dataset:
    """Sample about one or many checkpoints and record every sample's loss at every draw.

    The chains descend U(w) = n_beta L_n(w) + (localization/2) |w - w*|^2 (or its recentred form)
    with Langevin steps; theory and traps stand with the kernels in ``stagewise.sampling``.

    Args:
        model: Any module, on any device; it is copied and run in eval mode with its buffers frozen.
        loss_fn: (output, targets) -> one loss per sample, 1-D, in nats. The output is whatever the
            module returns.
        data: (inputs, targets), first dimension the sample, inputs a tensor or a mapping of
            keyword arguments; or a dataset of pairs.
        n_beta: Inverse temperature times n; 0 samples the law that no data enters, N(w*, I/γ).
        localization: > 0, per squared unit of weight.
        step_size: > 0; stable while step_size times the largest curvature of U is below 4.
        draws: Recorded positions per chain; the most, with ``until``.
        burn_in: Steps before the first of them counts.
        spacing: Steps per draw.
        chains: Independent chains per checkpoint, at least 2; from 8 on, estimates are free of
            centring bias. Or the ids of some of them: a block, to be joined by ``merge``.
        kernel: "sgld", "underdamped", "baoab", "rmsprop_sgld" or "mala".
        friction: In (0, 1], for "underdamped" and "baoab".
        adapt: "rmsprop_sgld" goes on adapting after burn-in (which changes the law).
        potential: "plain" or "recentred" (every checkpoint stationary; another law).
        control_variate: Minibatch gradients of the plain potential as differences from those at
            the checkpoint: the same law, less noise, twice the cost of a step.
        batch_size: Samples per minibatch, drawn with replacement; None takes the full gradient.
        queries: Further data whose losses are recorded but don't drive the chain.
        checkpoints: State dicts, buffers included; None samples the model as it is, and the trace
            has no checkpoint dimension.
        restrict: ``fnmatch`` pattern(s) of names of parameters that move; None moves all.
        per_token: loss_fn returns (sample, token); tokens are recorded as samples "id:position",
            with their ``sequence`` and ``position``. L_n is the mean over all tokens.
        sample_ids: Permanent ids of the samples; None numbers them.
        query_ids: Permanent ids of the queries; None numbers them.
        steps: Optimiser step of each checkpoint; None numbers them.
        seed: Root seed; chain k's noise is a function of (seed, experiment, k) alone.
        experiment: Name of the streams.
        vectorize: Run all replicas in one batched call; False runs them one by one, a thread each;
            None decides by the size of the model.
        until: Stop when this says so, e.g. ``until_standard_error(0.1)``; any function of what has
            been recorded (a ``RunResult``) that returns a bool.
        record: "trace" keeps every draw; "covariance" keeps sums from which the estimators give
            the same values and errors, for traces that would be too large. They are centred across
            chains from 8 chains on, else within.
        groups: Groups of chains that the error of sums is taken from; None is every chain.
        scratch: Folder under which an interrupted run keeps its state; calling again resumes.
        most_bytes: The run is refused if what it records would be larger.
        progress: True shows a bar on a terminal and plain lines in a log, False nothing; None
            shows the bar on a terminal only. Or a function of (steps taken, steps in all).

    Returns:
        The trace: ``excess_loss`` ([checkpoint,] chain, draw, sample) and what belongs to it; or
        sums. A chain that diverged has status 1 and NaN from its ``diverged_step`` on; nothing is
        raised.

    Raises:
        ConfigError: If a setting is out of range or of the wrong type, data or checkpoints don't
            fit, loss_fn isn't per sample, a loss at a checkpoint isn't finite, or the trace would
            be too large. The message names the remedy.
    """
    ids = _chain_ids(chains)
    _check_counts(batch_size=(batch_size, 1), seed=(seed, 0), groups=(groups, 2))
    number(n_beta, "n_beta", positive=False)
    schedule = Schedule(burn_in, draws, spacing)
    frozen_after = burn_in if kernel == "rmsprop_sgld" and not adapt else None
    moves = by_name.make(kernel, step_size, friction=friction, adapt_steps=frozen_after)
    device = next(iter([*model.parameters(), *model.buffers(), torch.empty(0)])).device
    loss = ModuleLoss(
        model,
        loss_fn,
        *tensors(data, "data", device),
        restrict,
        checkpoints=checkpoints,
        vectorize=vectorize,
        per_token=per_token,
    )
    also = None if queries is None else loss.with_data(*tensors(queries, "queries", device))
    labels = _labels(loss, also, (sample_ids, query_ids), _steps(steps, checkpoints), ids)
    sink = _sink(record, loss, also, len(ids), groups, draws, until, most_bytes)
    target = Potential(loss, loss.centre, n_beta, localization, potential, control_variate)
    settings = [repr(moves), repr(schedule), restrict, *labels.hashed()]
    attrs = {
        "n_beta": target.n_beta,
        "localization": target.localization,
        "step_size": float(step_size),
        "friction": 1.0 if friction is None else float(friction),
        "kernel": kernel,
        "potential": potential,
        "control_variate": int(control_variate),
        "loss": f"{type(model).__name__}/{_name_of(loss_fn)}",
        "batch_size": batch_size or 0,
        "burn_in": burn_in,
        "spacing": spacing,
        "until": _name_of(until) if until else "",
        "n": loss.loss_count,
        "seed": seed,
        "experiment": experiment,
        "versions": versions(),
        **_hashes(loss, also, settings),
    }
    streams = NoiseStreams(
        seed,
        experiment,
        ids,
        loss.parameter_count,
        batch_size=batch_size,
        sample_count=loss.sample_count,
        dtype=loss.centre.dtype,
        device=loss.centre.device,
    )
    identity = {**attrs, "chains": ids, "record": [record, groups], "code": loaded_code()}
    with nullcontext() if scratch is None else scratch_folder(scratch, identity) as folder:
        shown = _shown(progress)
        try:
            result = run(moves, target, streams, schedule, queries=also, scratch=folder,
                         until=until, progress=shown, sink=sink)  # fmt: skip
        finally:
            getattr(shown, "close", lambda: None)()
    return _dataset(result, labels, attrs, sink)


class _Labels(NamedTuple):
    """Permanent ids, chains, which tokens samples are, and steps where there are checkpoints."""

    samples: list[str]
    queries: list[str] | None
    steps: list[int] | None
    chains: list[int]
    tokens: dict[str, np.ndarray]

    def hashed(self) -> list[Any]:
        """Return what makes another run of it: not the chains, whose blocks are one run's."""
        return [self.samples, self.queries, self.steps]


def _labels(
    loss: ModuleLoss,
    also: ModuleLoss | None,
    given: tuple[Sequence[str] | None, Sequence[str] | None],
    steps: list[int] | None,
    chains: list[int],
) -> _Labels:
    found: list[list[str] | None] = [None, None]
    tokens: dict[str, np.ndarray] = {}
    for place, (one, ids) in enumerate(zip((loss, also), given, strict=True)):
        if one is None:
            continue
        prefix = ("", "query_")[place]
        names = permanent_ids(ids, one.sample_count, ("sample_ids", "query_ids")[place])
        if one.per_token:
            names, sequence, position = token_ids(names, one.tokens)
            tokens |= {f"{prefix}sequence": sequence, f"{prefix}position": position}
        _check_finite(one, names)
        found[place] = names
    return _Labels(found[0] or [], found[1], steps, chains, tokens)


def _sink(
    record: Record,
    loss: ModuleLoss,
    also: ModuleLoss | None,
    chains: int,
    groups: int | None,
    draws: int,
    until: Until | None,
    most: int,
) -> CovarianceSums | None:
    """Return where the losses go if not into a trace; raise ConfigError if it would be too large.

    Also where a rule for stopping asks for draws that sums don't keep.
    """
    checkpoints, samples = len(loss.centre), loss.loss_count
    asked = None if also is None else also.loss_count
    if record not in get_args(Record):
        raise ConfigError(f"record {record!r}; choose one of {list(get_args(Record))}")
    size = trace_bytes(checkpoints, chains, draws, samples, asked or 0)
    sums = sums_bytes(checkpoints, chains, groups or chains, samples, asked)
    sums += trace_bytes(checkpoints, chains, draws, 0)
    if record == "trace":
        remedy = f"record='covariance' would take {sums / 2**30:.2f} GiB; or "
        _check_size("trace", size, most, remedy if sums < size else "")
        return None
    _check_size("sums", sums, most, "use fewer groups; or ")
    if isinstance(until, StoppingRule):
        raise ConfigError(
            f"until={_name_of(until)} looks at the draws, which record='covariance' doesn't keep; "
            "set draws alone, or record a trace"
        )
    centring = resolve_centring("auto", chains)
    return CovarianceSums(checkpoints, chains, samples, asked, centring=centring, groups=groups)


def _dataset(
    result: RunResult, labels: _Labels, attrs: dict[str, Any], sink: CovarianceSums | None
) -> xr.Dataset:
    """Label a run's arrays; without ``steps`` the one checkpoint's dimension goes."""
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    arrays = {name: one for name, one in fields.items() if isinstance(one, np.ndarray)}
    sums = {} if sink is None else sink.arrays
    if labels.steps is None:
        arrays, sums = ({name: one[0] for name, one in part.items()} for part in (arrays, sums))
    spent = {"wall_seconds": result.wall_seconds, "chain_steps": result.chain_steps}
    if "accepted" in result.info:
        spent["acceptance"] = float(np.nanmean(result.info["accepted"]))
    named = {
        "sample": labels.samples,
        "query": labels.queries,
        "step": labels.steps,
        "chain": labels.chains,
        "tokens": labels.tokens,
        "attrs": {**attrs, **spent},
    }
    if sink is None:
        return trace_file.from_arrays(**arrays, **named)
    group = sink.group
    return sums_file.from_arrays(sums, arrays, chain_group=group, centring=sink.centring, **named)


def merge(blocks: Sequence[xr.Dataset]) -> xr.Dataset:
    """Join blocks of chains of one run that were sampled as separate jobs.

    Of traces, the result is the trace of all chains; of sums, see ``stagewise.storage.sums.merge``
    for what centring them block by block changes.

    Args:
        blocks: What ``sample_losses`` returned with different chain ids and else the same settings.

    Raises:
        SchemaError: Settings, data or checkpoints differ, or chains overlap.
    """
    sums = bool(blocks) and sums_file.is_sums(blocks[0])
    return (sums_file if sums else trace_file).merge(blocks)


def _chain_ids(chains: int | Sequence[int]) -> list[int]:
    if isinstance(chains, int):
        _check_counts(chains=(chains, FEWEST_CHAINS))
        return list(range(chains))
    for one in chains:
        _check_counts(chains=(one, 0))
    return list(chains)


def _check_finite(loss: ModuleLoss, names: list[str]) -> None:
    reference = loss.reference(loss.centre)
    bad = (~torch.isfinite(reference)).nonzero().tolist()
    if bad:
        raise ConfigError(
            f"the loss of {names[bad[0][1]]!r} at checkpoint {bad[0][0]} is not finite ({len(bad)} "
            "such losses in all); leave these samples out, or look for NaN in inputs and weights"
        )


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


def _check_size(what: str, size: int, most: int, remedy: str) -> None:
    if size > most:
        raise ConfigError(
            f"the {what} would take {size / 2**30:.2f} GiB, more than the ceiling of "
            f"{most / 2**30:.2f}; {remedy}use fewer draws, chains, checkpoints or samples (or a "
            "larger spacing with fewer draws), or raise most_bytes"
        )


def _hashes(loss: ModuleLoss, also: ModuleLoss | None, settings: list[Any]) -> dict[str, str]:
    """Return content hashes of the checkpoints, the data and the remaining settings."""
    data = [[*parts(one.inputs), one.targets] for one in (loss, also) if one is not None]
    return {
        "checkpoint_hash": content_hash(loss.weights()),
        "data_hash": content_hash(sum(data, start=[])),
        "settings_hash": sha256_json(settings),
    }


def _shown(progress: bool | Progress | None) -> Progress | None:
    if progress is None:
        progress = sys.stderr.isatty()
    if isinstance(progress, bool):
        return bar("sample_losses") if progress else None
    return progress


def _name_of(function: Any) -> str:
    """Return what a function calls itself, the same in every process."""
    if dataclasses.is_dataclass(function):
        return repr(function)
    inner = getattr(function, "func", function)  # functools.partial
    return getattr(inner, "__name__", type(inner).__name__)
