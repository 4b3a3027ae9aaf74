"""Mean covariance between classes of tokens, over pairs of tokens in different sequences.

With S_sA the summed loss of the tokens of class A in sequence s and n_sA their number,

    M_AB = Σ_{s≠s'} Cov(S_sA, S_s'B) / Σ_{s≠s'} n_sA n_s'B

is the mean of the token-by-token covariance, which is never built. Every mean here is the ratio of
two quadratic forms of the same kind, Σ_{s≠s'} w_s w_s' Q_ss' over the same of the numbers of pairs,
with Q a matrix over sequences and w = 1; the bootstrap over sequences draws w multinomially. So a
sequence that is drawn twice makes no pair with its own copy.

Two errors are kept apart: that of the chains (jackknife) and that of the sequences (bootstrap). The
second sees the part of the chains' noise that differs between sequences as well, so that their sum
in squares is, if anything, too large.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.sparse import csr_array

from stagewise.errors import ConfigError
from stagewise.estimators.covariance import Centring, Products

Losses = Float[np.ndarray, "chain draw token"]
Weights = Float64[np.ndarray, "replicate sequence"]


class Layout(NamedTuple):
    """Where each recorded token stands.

    Attributes:
        sequence: Index of its sequence, (token,).
        token_class: Its class, (token,).
        kind: Its kind within the class, (token,).
        sequences: Number of sequences.
        classes: Number of classes.
    """

    sequence: Int[np.ndarray, " token"]
    token_class: Int[np.ndarray, " token"]
    kind: Int[np.ndarray, " token"]
    sequences: int
    classes: int

    def counts(self) -> Float64[np.ndarray, "sequence class"]:
        """Number of tokens of every class in every sequence."""
        found = np.zeros((self.sequences, self.classes))
        np.add.at(found, (self.sequence, self.token_class), 1.0)
        return found


class Resampling(NamedTuple):
    """Weights of a bootstrap, the same at all checkpoints, so that replicates are curves.

    Attributes:
        weights: Times that each sequence is drawn.
        deviates: Standard normal deviate of each chain that was run.
    """

    weights: Weights
    deviates: Float64[np.ndarray, "replicate chain"]


class Means(NamedTuple):
    """Means over groups of pairs; NaN for a group without pairs.

    Attributes:
        value: The means.
        chain_se: Standard error over chains.
        sequence_se: Standard error over sequences.
        replicate: Means of resampled sequences, displaced as resampled chains would be.
    """

    value: Float64[np.ndarray, "*group"]
    chain_se: Float64[np.ndarray, "*group"]
    sequence_se: Float64[np.ndarray, "*group"]
    replicate: Float64[np.ndarray, "replicate ..."]


def resample(
    sequence_rng: np.random.Generator,
    chain_rng: np.random.Generator,
    *,
    replicates: int,
    sequences: int,
    chains: int,
) -> Resampling:
    """Draw the weights of a bootstrap.

    Two streams, so that trainings that record the same sequences can resample these alike.

    Raises:
        ConfigError: Fewer than two sequences.
    """
    if sequences < 2:
        raise ConfigError(f"{sequences} sequence makes no pair of different ones; record 2 or more")
    shares = np.full(sequences, 1 / sequences)
    drawn = sequence_rng.multinomial(sequences, shares, size=replicates).astype(np.float64)
    return Resampling(drawn, chain_rng.normal(size=(replicates, chains)))


def quadratic(
    matrices: Float64[np.ndarray, "*lead sequence sequence"], weights: Weights
) -> Float64[np.ndarray, "*lead replicate"]:
    """Return Σ_{s≠s'} w_s w_s' Q_ss' for every matrix Q and every row w of the weights."""
    apart = matrices * (1.0 - np.eye(matrices.shape[-1]))
    return ((apart @ weights.T) * weights.T).sum(axis=-2)


def class_sums(
    losses: Losses, layout: Layout, scale: Float64[np.ndarray, " token"] | None = None
) -> Float64[np.ndarray, "chain draw unit"]:
    """Sum the losses, times ``scale``, of each class in each sequence; unit = (sequence, class)."""
    unit = layout.sequence * layout.classes + layout.token_class
    return _sums(losses, unit, layout.sequences * layout.classes, scale)


def _sums(
    losses: np.ndarray, unit: np.ndarray, units: int, scale: np.ndarray | None = None
) -> np.ndarray:
    """Sum over the tokens of each unit in float64, a chain at a time."""
    weight = np.ones(len(unit)) if scale is None else scale
    member = csr_array((weight, (unit, np.arange(len(unit)))), shape=(units, len(unit)))
    return np.stack([(member @ one.T.astype(np.float64)).T for one in losses])


def class_pairs(
    products: Float64[np.ndarray, "*lead unit unit"], sequences: int, classes: int
) -> Float64[np.ndarray, "*lead class class sequence sequence"]:
    """Turn products of units (sequence, class) into one matrix over sequences per class pair."""
    lead = products.shape[:-2]
    whole = products.reshape(*lead, sequences, classes, sequences, classes)
    k = len(lead)
    return whole.transpose(*range(k), k + 1, k + 3, k, k + 2)


def pair_counts(layout: Layout) -> Float64[np.ndarray, "class class sequence sequence"]:
    """Return the numbers of pairs of tokens, for ``class_pairs``."""
    counts = layout.counts().ravel()
    return class_pairs(np.outer(counts, counts), layout.sequences, layout.classes)


def class_means(
    losses: Losses,
    layout: Layout,
    resampling: Resampling,
    centring: Centring = "auto",
) -> Means:
    """Estimate the mean covariance M_AB of every pair of classes at one checkpoint, nats².

    Args:
        losses: Excess losses of the chains that count, (chain, draw, token).
        layout: Where the tokens stand.
        resampling: Weights; its deviates are those of the same chains.
        centring: See ``stagewise.estimators.covariance``.

    Raises:
        ConfigError: Fewer than two chains, or too few draws.
    """
    products = _products(class_sums(losses, layout), centring)
    sums = np.stack(list(products.each()))
    parts = class_pairs(sums, layout.sequences, layout.classes)
    return _means(products, parts, pair_counts(layout), resampling)


def correlation_means(
    losses: Losses,
    layout: Layout,
    resampling: Resampling,
    centring: Centring = "auto",
) -> Means:
    """Estimate the mean posterior correlation of every pair of classes at one checkpoint.

    Losses are divided by their own standard deviation first; leaving a chain out changes that too.
    A loss that does not vary counts as correlation 0.

    Args:
        losses: Excess losses of the chains that count, (chain, draw, token).
        layout: Where the tokens stand.
        resampling: Weights; its deviates are those of the same chains.
        centring: See ``stagewise.estimators.covariance``.

    Raises:
        ConfigError: Fewer than two chains, or too few draws.
    """
    tokens = _products(losses, centring)
    squares, _ = tokens.squares()
    total, counts = squares.sum(axis=0), pair_counts(layout)

    def forms(variance: np.ndarray, out: int | None) -> np.ndarray:
        scale = _inverse_root(variance, losses)
        parts = list(_products(class_sums(losses, layout, scale), centring).each())
        whole = sum(parts, start=np.zeros(1))
        if out is not None:
            whole = whole - tokens.share * parts[out]
        return class_pairs(whole, layout.sequences, layout.classes)

    left_out = [forms(total - tokens.share * one, k) for k, one in enumerate(squares)]
    return _jackknifed(forms(total, None), np.stack(left_out), counts, resampling)


def kind_means(
    losses: Losses,
    layout: Layout,
    resampling: Resampling,
    centring: Centring = "auto",
) -> Means:
    """Estimate mean covariances within each class, of one kind and of different kinds, nats².

    Args:
        losses: Excess losses of the chains that count, (chain, draw, token).
        layout: Where the tokens stand.
        resampling: Weights; its deviates are those of the same chains.
        centring: See ``stagewise.estimators.covariance``.

    Returns:
        Groups are (class, relation): the same kind, different kinds.

    Raises:
        ConfigError: Fewer than two chains, or too few draws.
    """
    products = _products(class_sums(losses, layout), centring)
    parts = class_pairs(np.stack(list(products.each())), layout.sequences, layout.classes)
    same, same_counts = _same_kind(losses, layout, centring)
    own = np.arange(layout.classes)
    all_parts, all_counts = parts[:, own, own], pair_counts(layout)[own, own]
    stacked = np.stack([same, all_parts - same], axis=2)
    counts = np.stack([same_counts, all_counts - same_counts], axis=1)
    return _means(products, stacked, counts, resampling)


def form_means(
    matrices: Float64[np.ndarray, "*group sequence sequence"],
    counts: Float64[np.ndarray, "*group sequence sequence"],
    weights: Weights,
) -> Means:
    """Return means of what no chain was needed for, gradient products for one.

    Args:
        matrices: Sums over pairs of tokens, for every two sequences.
        counts: Numbers of pairs.
        weights: Of the bootstrap over sequences.
    """
    one = np.ones((1, matrices.shape[-1]))
    value = _ratio(quadratic(matrices, one), quadratic(counts, one))[..., 0]
    drawn = _ratio(quadratic(matrices, weights), quadratic(counts, weights))
    return Means(value, np.zeros_like(value), _spread(drawn), np.moveaxis(drawn, -1, 0))


def _products(losses: np.ndarray, centring: Centring) -> Products:
    if losses.shape[0] < 2:
        raise ConfigError(f"errors over chains need at least 2 of them, got {losses.shape[0]}")
    return Products(losses, None, centring)


def _same_kind(losses: Losses, layout: Layout, centring: Centring) -> tuple[np.ndarray, np.ndarray]:
    """Return sums over pairs of one kind, (chain, class, sequence, sequence), and their numbers."""
    labels = np.stack([layout.token_class, layout.kind, layout.sequence], axis=1)
    units, unit = np.unique(labels, axis=0, return_inverse=True)
    unit = unit.ravel()
    size = (layout.classes, layout.sequences, layout.sequences)
    sums, numbers = np.zeros((losses.shape[0], *size)), np.zeros(size)
    counts = np.bincount(unit).astype(np.float64)
    starts = np.flatnonzero(np.r_[True, (np.diff(units[:, :2], axis=0) != 0).any(axis=1)])
    groups = np.split(np.arange(len(units)), starts[1:])
    blocks = _products(_sums(losses, unit, len(units)), centring).pairs()
    places = [(units[group[0], 0], np.ix_(units[group, 2], units[group, 2])) for group in groups]
    for chain, (x, _) in enumerate(blocks):
        for group, (its_class, where) in zip(groups, places, strict=True):
            sums[chain, its_class][where] += x[:, group].T @ x[:, group]
    for group, (its_class, where) in zip(groups, places, strict=True):
        numbers[its_class][where] += np.outer(counts[group], counts[group])
    return sums, numbers


def _inverse_root(variance: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return 1/√variance, 0 for a loss that varies by no more than the rounding of its size."""
    size = np.abs(losses).max(axis=(0, 1)).astype(np.float64)
    rounding = math.prod(losses.shape[:2]) * np.square(8 * np.finfo(np.float64).eps * size)
    dead = variance <= rounding
    return np.where(dead, 0.0, 1 / np.sqrt(np.where(dead, 1.0, variance)))


def _means(
    products: Products, parts: np.ndarray, counts: np.ndarray, resampling: Resampling
) -> Means:
    """Return means from each chain's sums ``parts`` (chain, *group, sequence, sequence)."""
    chains = products.count
    whole = parts.sum(axis=0)
    # Without a chain there is one degree of freedom less for every draw.
    grown = (chains - 1) / (chains - 2) if products.share > 1 else chains / (chains - 1)
    left_out = (whole - products.share * parts) * grown
    return _jackknifed(products.scale * whole, products.scale * left_out, counts, resampling)


def _jackknifed(
    whole: np.ndarray, left_out: np.ndarray, counts: np.ndarray, resampling: Resampling
) -> Means:
    """Return means and both errors, from the forms of all chains and those without each one.

    With p_k = C v - (C-1) v_(-k) the chains' pseudovalues, a replicate is v + a/C Σ_k (ξ_k - ξ̄) p_k
    at a = √(C/(C-1)), ξ normal: its variance is that of the jackknife exactly. (Drawing chains with
    replacement has a variance too small by (C-1)/C and few different values where chains are few.)
    """
    chains = len(left_out)
    weights = np.concatenate([np.ones((1, counts.shape[-1])), resampling.weights])
    numbers = quadratic(counts, weights)
    value = _ratio(quadratic(whole, weights), numbers)
    pseudo = chains * value - (chains - 1) * _ratio(quadratic(left_out, weights), numbers)
    chain_se = pseudo[..., 0].std(axis=0, ddof=1) / math.sqrt(chains)
    around = resampling.deviates - resampling.deviates.mean(axis=-1, keepdims=True)
    moved = np.einsum("k...r,rk->...r", pseudo[..., 1:], around) / math.sqrt(chains * (chains - 1))
    replicate = np.moveaxis(value[..., 1:] + moved, -1, 0)
    return Means(value[..., 0], chain_se, _spread(value[..., 1:]), replicate)


def _ratio(numerator: np.ndarray, number: np.ndarray) -> np.ndarray:
    shape = np.broadcast_shapes(numerator.shape, number.shape)
    empty = np.full(shape, np.nan)
    return np.divide(numerator, number, out=empty, where=np.broadcast_to(number > 0.5, shape))


def _spread(drawn: np.ndarray) -> np.ndarray:
    """Return the standard deviation over the last dimension; NaN where fewer than two are known."""
    known = np.isfinite(drawn)
    count = known.sum(axis=-1)
    mean = np.where(known, drawn, 0.0).sum(axis=-1) / np.maximum(count, 1)
    squared = np.where(known, np.square(drawn - mean[..., None]), 0.0).sum(axis=-1)
    return np.where(count > 1, np.sqrt(squared / np.maximum(count - 1, 1)), np.nan)
