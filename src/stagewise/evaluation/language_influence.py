"""From traces of token losses to influence between classes of tokens, checkpoint by checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stagewise.config.language import InfluenceStage
from stagewise.config.token_classes import CLASSES
from stagewise.errors import SchemaError
from stagewise.estimators.chains import survivors
from stagewise.estimators.covariance import Centring, covariance, resolve_centring
from stagewise.estimators.token_groups import (
    Layout,
    Means,
    Resampling,
    class_means,
    class_pairs,
    correlation_means,
    form_means,
    kind_means,
    pair_counts,
    resample,
)
from stagewise.evaluation.language_diagnostics import diagnostics
from stagewise.seeds import generator
from stagewise.storage import trace as trace_file
from stagewise.storage.language_influence import KINDS, LANGUAGE_INFLUENCE, MOMENTS
from stagewise.storage.schema import CHECKPOINT

INDUCTION = CLASSES.index("induction")
#: Sequences whose influence is recorded token by token.
SHOWN = 2

#: What traces of different checkpoints of one run have in common.
_COMMON = ("n_beta", "localization", "step_size", "kernel", "potential", "batch_size", "n", "seed")
_PAIR = (CHECKPOINT, "class", "other_class")
#: Measurement to its dimensions, and whether its sign is turned into the BIF sense.
_MEANS = {
    "influence": (_PAIR, -1),
    "correlation": (_PAIR, 1),
    "prior": (_PAIR, -1),
    "gradient": (_PAIR, -1),
    "kind": ((CHECKPOINT, "class", "relation"), -1),
}


class Recorded(NamedTuple):
    """What is known of one checkpoint: chains about it, and independent draws at nβ = 0."""

    step: int
    trace: xr.Dataset
    prior: xr.Dataset


def influence_dataset(
    settings: InfluenceStage,
    corpus: xr.Dataset,
    traces: Sequence[xr.Dataset],
    priors: Sequence[xr.Dataset],
    gradients: xr.Dataset,
) -> xr.Dataset:
    """Estimate influence between all classes of tokens at every checkpoint of one training.

    Args:
        settings: Seed of the bootstrap, its size, how often R-hat is taken.
        corpus: Says class and kind of every recorded token.
        traces: Blocks of checkpoints and of chains, in any order.
        priors: The same of independent draws at nβ = 0.
        gradients: Products of class gradients at the same checkpoints.

    Returns:
        What `LANGUAGE_INFLUENCE` says.

    Raises:
        SchemaError: Files are not of the same tokens, settings or checkpoints.
        DivergenceError: Fewer than two chains are left at a checkpoint.
    """
    sampled, prior = by_checkpoint(traces), by_checkpoint(priors)
    _check_steps(sampled, prior, gradients)
    records = [Recorded(step, sampled[step], prior[step]) for step in sorted(sampled)]
    layout = layout_of(records[0].trace, corpus)
    chains = max(one.sizes["chain"] for record in records for one in record[1:])
    drawn = resample(
        generator(settings.seed, "language", settings.name, "sequences"),
        generator(settings.seed, "language", settings.name, settings.run_seed, "chains"),
        replicates=settings.bootstrap,
        sequences=layout.sequences,
        chains=chains,
    )
    parts = [_estimate(record, layout, drawn) for record in records]
    found = {name: _stacked(parts, name) for name in parts[0]}
    found["gradient"] = _gradient_means(gradients, sorted(sampled), layout, records[0].trace, drawn)
    checks = [
        diagnostics(one.trace, layout, index % settings.diagnostics.stride == 0)
        for index, one in enumerate(records)
    ]
    data = _variables(found) | {
        name: ((CHECKPOINT, *checks[0][name][0]), np.stack([one[name][1] for one in checks]))
        for name in checks[0]
    }
    data["token_count"] = (("class",), layout.counts().sum(axis=0).astype(np.int64))
    text = _text(records, layout, corpus, -data["influence"][1][:, INDUCTION, INDUCTION])
    made = xr.Dataset(
        data | text[0],
        coords={
            "step": (CHECKPOINT, np.array(sorted(sampled), np.int64)),
            "class": np.array(CLASSES, dtype=object),
            "relation": np.array(KINDS, dtype=object),
            **text[1],
        },
        attrs=_attrs(settings, records, layout, gradients),
    )
    LANGUAGE_INFLUENCE.validate(made)
    return made


def by_checkpoint(traces: Sequence[xr.Dataset]) -> dict[int, xr.Dataset]:
    """Join blocks of chains, and return the trace of every checkpoint by its step.

    Raises:
        SchemaError: Blocks overlap, or are of different runs.
    """
    blocks: dict[tuple[int, ...], list[xr.Dataset]] = {}
    for trace in traces:
        blocks.setdefault(tuple(np.atleast_1d(trace["step"].values).tolist()), []).append(trace)
    found: dict[int, xr.Dataset] = {}
    for steps, parts in blocks.items():
        whole = parts[0] if len(parts) == 1 else trace_file.merge(parts)
        for index, step in enumerate(steps):
            if step in found:
                raise SchemaError(f"step {step} is in two blocks of checkpoints; pass each once")
            found[step] = whole.isel({CHECKPOINT: index})
    first = next(iter(found.values()))
    for step, one in found.items():
        _check_alike(first, one, step)
    return found


def _check_alike(first: xr.Dataset, one: xr.Dataset, step: int) -> None:
    for name in _COMMON:
        if first.attrs[name] != one.attrs[name]:
            raise SchemaError(
                f"the trace at step {step} has {name} {one.attrs[name]!r}, another checkpoint "
                f"{first.attrs[name]!r}; sample all checkpoints alike"
            )
    if not np.array_equal(first["sample"].values, one["sample"].values):
        raise SchemaError(f"the trace at step {step} is of other tokens; sample all alike")


def _check_steps(
    sampled: Mapping[int, xr.Dataset], prior: Mapping[int, xr.Dataset], gradients: xr.Dataset
) -> None:
    have = set(gradients["step"].values.tolist()) & set(prior)
    if missing := sorted(set(sampled) - have):
        raise SchemaError(f"steps {missing} have no prior or no gradients; make these too")
    for step, trace in sampled.items():
        if not np.array_equal(trace["sample"].values, prior[step]["sample"].values):
            raise SchemaError(f"prior and trace at step {step} are of different tokens")


def layout_of(trace: xr.Dataset, corpus: xr.Dataset) -> Layout:
    """Look up class and kind of a trace's tokens.

    Raises:
        SchemaError: The samples are no tokens, or not those of the corpus.
    """
    if not {"sequence", "position"} <= set(trace.coords):
        raise SchemaError("the trace does not say which tokens its samples are; sample per token")
    names, sequence = np.unique(trace["sequence"].values.astype(str), return_inverse=True)
    known = {name: index for index, name in enumerate(corpus["sequence"].values.tolist())}
    position = trace["position"].values
    if not set(names.tolist()) <= set(known) or position.max() >= corpus.sizes["predicted"]:
        raise SchemaError("the trace's tokens are not all in the corpus; pass the one it was of")
    row = np.array([known[name] for name in names.tolist()])[sequence]
    found = (
        corpus[name].values[row, position].astype(np.int64) for name in ("token_class", "kind")
    )
    return Layout(sequence.astype(np.int64), *found, sequences=len(names), classes=len(CLASSES))


def _kept(trace: xr.Dataset) -> tuple[np.ndarray, np.ndarray, Centring]:
    """Return the losses of the chains that count, which these are, and how they are centred."""
    valid = survivors(trace)
    rule = resolve_centring("auto", len(valid), int(valid.sum()))
    return trace_file.sample_losses(trace)[valid], valid, rule


def _estimate(record: Recorded, layout: Layout, drawn: Resampling) -> dict[str, Means]:
    losses, own, rule = _of(record.trace, drawn)
    prior, prior_own, prior_rule = _of(record.prior, drawn)
    return {
        "influence": class_means(losses, layout, own, rule),
        "correlation": correlation_means(losses, layout, own, rule),
        "kind": kind_means(losses, layout, own, rule),
        "prior": class_means(prior, layout, prior_own, prior_rule),
    }


def _of(trace: xr.Dataset, drawn: Resampling) -> tuple[np.ndarray, Resampling, Centring]:
    losses, valid, rule = _kept(trace)
    deviates = drawn.deviates[:, : len(valid)][:, valid]
    return losses, Resampling(drawn.weights, deviates), rule


def _stacked(parts: Sequence[Mapping[str, Means]], name: str) -> Means:
    arrays = zip(*(part[name] for part in parts), strict=True)
    return Means(*(np.stack(one) for one in arrays))


def _gradient_means(
    gradients: xr.Dataset,
    steps: Sequence[int],
    layout: Layout,
    trace: xr.Dataset,
    drawn: Resampling,
) -> Means:
    names = np.unique(trace["sequence"].values.astype(str)).tolist()
    place = {name: index for index, name in enumerate(names)}
    sequences = gradients["unit_sequence"].values.tolist()
    if not set(sequences) <= set(place):
        raise SchemaError("gradients are of sequences that were not recorded; make them again")
    unit = [
        place[one] * len(CLASSES) + CLASSES.index(its_class)
        for one, its_class in zip(sequences, gradients["unit_class"].values.tolist(), strict=True)
    ]
    size = layout.sequences * layout.classes
    known = np.zeros((size, size))
    known[np.ix_(unit, unit)] = 1.0
    counts = pair_counts(layout) * class_pairs(known, layout.sequences, layout.classes)
    where = {step: index for index, step in enumerate(gradients["step"].values.tolist())}
    parts = []
    for step in steps:
        products = np.zeros((size, size))
        products[np.ix_(unit, unit)] = gradients["product"].values[where[step]]
        forms = class_pairs(products, layout.sequences, layout.classes)
        parts.append({"gradient": form_means(forms, counts, drawn.weights)})
    return _stacked(parts, "gradient")


def _variables(found: Mapping[str, Means]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, (dims, sign) in _MEANS.items():
        means = found[name]
        data[name] = (dims, sign * means.value)
        data[f"{name}_chain_se"] = (dims, means.chain_se)
        data[f"{name}_sequence_se"] = (dims, means.sequence_se)
    over = (CHECKPOINT, "resample", "class", "other_class")
    data["influence_replicate"] = (over, -found["influence"].replicate)
    data["gradient_replicate"] = (over, -found["gradient"].replicate)
    return data


def around(place: int | None, count: int) -> list[int]:
    """Return three of ``count`` checkpoints: ``place``, and those halfway from it to either end.

    The middle one where there is no such place.
    """
    at = (count - 1) // 2 if place is None else place
    return [at // 2, at, (at + count) // 2]


def _text(
    records: Sequence[Recorded], layout: Layout, corpus: xr.Dataset, curve: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return variables and coordinates of the influence between tokens of a few sequences."""
    peak = int(np.nanargmax(curve)) if np.isfinite(curve).any() else None
    chosen = [records[index] for index in around(peak, len(records))]
    trace = records[0].trace
    most = np.argsort(-layout.counts()[:, INDUCTION], kind="stable")[:SHOWN]
    tokens = [_in_order(trace, layout.sequence == index) for index in most]
    names = [str(trace["sequence"].values[one[0]]) for one in tokens]
    value, se = [], []
    for record in chosen:
        losses, _, rule = _kept(record.trace)
        estimates = [covariance(losses[..., one], centring=rule) for one in tokens]
        value.append(np.stack([-one.value for one in estimates]))
        se.append(np.stack([one.se for one in estimates]))
    ids = corpus["tokens"].sel(sequence=names).values[:, 1:]
    read = corpus["text"].values[ids]
    positions = [trace["position"].values[one] for one in tokens]
    over = ("moment", "shown", "token", "other_token")
    variables = {
        "text_influence": (over, np.stack(value)),
        "text_se": (over, np.stack(se)),
        "text_class": (("shown", "token"), np.stack([layout.token_class[one] for one in tokens])),
        "text_step": (("moment",), np.array([record.step for record in chosen])),
    }
    coords = {
        "moment": np.array(MOMENTS, dtype=object),
        "shown_sequence": ("shown", np.array(names, dtype=object)),
        "text": (
            ("shown", "token"),
            np.stack([row[at] for row, at in zip(read, positions, strict=True)]).astype(object),
        ),
    }
    return variables, coords


def _in_order(trace: xr.Dataset, mask: np.ndarray) -> np.ndarray:
    where = np.flatnonzero(mask)
    return where[np.argsort(trace["position"].values[where], kind="stable")]


def _attrs(
    settings: InfluenceStage, records: Sequence[Recorded], layout: Layout, gradients: xr.Dataset
) -> dict[str, Any]:
    first = records[0].trace
    dropped = sum(int((~survivors(record.trace)).sum()) for record in records)
    return {
        "schema": LANGUAGE_INFLUENCE.name,
        "schema_version": LANGUAGE_INFLUENCE.version,
        "run": settings.name,
        "run_seed": settings.run_seed,
        # Sums over training compare signs and shares where the rate is unknown.
        "learning_rate": float(gradients.attrs.get("learning_rate", 1.0)),
        **{name: first.attrs[name] for name in ("n_beta", "localization", "step_size", "n")},
        "n_chains": first.sizes["chain"],
        "n_chains_dropped": dropped,
        "n_draws": first.sizes["draw"],
        "n_sequences": layout.sequences,
        "centring": resolve_centring("auto", first.sizes["chain"]),
    }
