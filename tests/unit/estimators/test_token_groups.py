"""Means over pairs of token classes, against the token-by-token matrix and a known law.

Caught: pairs within a sequence counted in, losses that are not centred, copies of a resampled
sequence paired with each other, errors that leave the sequences out, kinds mixed up.
"""

from typing import NamedTuple

import numpy as np
import pytest

from stagewise.errors import ConfigError
from stagewise.estimators import token_groups
from stagewise.estimators.covariance import CentredChains, correlation, covariance
from stagewise.estimators.groups import group_influence
from stagewise.estimators.token_groups import (
    Layout,
    Resampling,
    class_means,
    class_pairs,
    class_sums,
    correlation_means,
    form_means,
    kind_means,
    pair_counts,
    resample,
)
from support.traces import make_trace

SEQUENCES, LENGTH, CLASSES, KINDS = 4, 9, 3, 2


class Case(NamedTuple):
    losses: np.ndarray
    layout: Layout
    drawn: Resampling


def a_case(chains: int, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    tokens = SEQUENCES * LENGTH
    layout = Layout(
        rng.permutation(np.repeat(np.arange(SEQUENCES), LENGTH)),
        rng.integers(CLASSES, size=tokens),
        rng.integers(KINDS, size=tokens),
        SEQUENCES,
        CLASSES,
    )
    mix = rng.normal(size=(5, tokens))
    losses = rng.normal(size=(chains, 30, 5)) @ mix + 0.3 * rng.normal(size=(chains, 30, tokens))
    losses += rng.normal(size=(chains, 1, 1))  # each chain about a level of its own
    drawn = resample(rng, rng, replicates=40, sequences=SEQUENCES, chains=chains)
    return Case(losses, layout, drawn)


@pytest.fixture(params=[4, 9], ids=["within", "across"])
def case(request: pytest.FixtureRequest) -> Case:
    return a_case(request.param)


def masks(layout: Layout) -> np.ndarray:
    """Pairs of tokens in different sequences, by class of one and of the other."""
    apart = layout.sequence[:, None] != layout.sequence
    member = layout.token_class == np.arange(CLASSES)[:, None]
    return member[:, None, :, None] & member[None, :, None, :] & apart


def mean_over(matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (matrix * mask).sum(axis=(-2, -1)) / mask.sum(axis=(-2, -1))


def test_means_are_those_of_the_token_matrix(case: Case) -> None:
    found = class_means(*case)
    whole = covariance(case.losses).value
    np.testing.assert_allclose(found.value, mean_over(whole, masks(case.layout)), rtol=1e-12)
    np.testing.assert_allclose(found.value, found.value.T, rtol=1e-12)


def test_errors_over_chains_are_those_of_means_over_the_matrix(case: Case) -> None:
    found = class_means(*case)
    named = {f"{i}{j}": masks(case.layout)[i, j] for i, j in np.ndindex(CLASSES, CLASSES)}
    known = group_influence(make_trace(case.losses.astype(np.float64)), named)
    value, se = (known[name].values.reshape(CLASSES, CLASSES) for name in ("group", "group_se"))
    # A trace holds 32-bit losses.
    np.testing.assert_allclose(-found.value, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.chain_se, se, rtol=1e-4, atol=1e-5)


def test_correlations_are_means_over_the_matrix_of_correlations(case: Case) -> None:
    found = correlation_means(*case)
    (whole, _), _ = correlation(case.losses)
    np.testing.assert_allclose(found.value, mean_over(whole, masks(case.layout)), rtol=1e-10)


def test_errors_of_correlations_leave_whole_chains_out(case: Case) -> None:
    losses, chains = case.losses, len(case.losses)
    centring = "across" if chains >= 8 else "within"
    without = [
        mean_over(
            correlation(np.delete(losses, k, axis=0), None, centring)[0].value, masks(case.layout)
        )
        for k in range(chains)
    ]
    spread = np.square(np.std(without, axis=0)) * (chains - 1)
    np.testing.assert_allclose(correlation_means(*case).chain_se, np.sqrt(spread), rtol=1e-9)


def test_a_loss_that_does_not_vary_correlates_with_nothing() -> None:
    losses, layout, drawn = a_case(4)
    losses[..., 3] = 0.1
    (whole, _), zero = correlation(losses)
    assert zero == 1
    found = correlation_means(losses, layout, drawn)
    np.testing.assert_allclose(found.value, mean_over(whole, masks(layout)), rtol=1e-10)


def test_kinds_divide_the_pairs_of_a_class(case: Case) -> None:
    found = kind_means(*case)
    whole, layout = covariance(case.losses).value, case.layout
    same = layout.kind[:, None] == layout.kind
    own = masks(layout)[np.arange(CLASSES), np.arange(CLASSES)]
    for index, mask in enumerate((own & same, own & ~same)):
        np.testing.assert_allclose(found.value[:, index], mean_over(whole, mask), rtol=1e-11)


def test_resampled_sequences_make_no_pair_with_their_own_copies(case: Case) -> None:
    """The means of one draw, from the matrix of the tokens that were drawn."""
    losses, layout, drawn = case
    weights = np.array([[2.0, 0.0, 1.0, 1.0]])
    still = Resampling(weights, np.zeros((1, len(losses))))
    found = class_means(losses, layout, still).replicate[0]
    per_token = weights[0, layout.sequence]
    mask = masks(layout) * per_token[:, None] * per_token
    np.testing.assert_allclose(found, mean_over(covariance(losses).value, mask), rtol=1e-11)


def test_displaced_replicates_have_the_variance_of_the_jackknife(case: Case) -> None:
    """With all sequences kept, 20,000 replicates: the spread is known to 0.5%, limit 5 of these."""
    losses, layout, _ = case
    rng = np.random.default_rng(1)
    drawn = Resampling(np.ones((20_000, SEQUENCES)), rng.normal(size=(20_000, len(losses))))
    found = class_means(losses, layout, drawn)
    np.testing.assert_allclose(found.replicate.std(axis=0), found.chain_se, rtol=0.025)
    np.testing.assert_allclose(found.sequence_se, 0, atol=1e-12)


def test_forms_of_gradients_are_averaged_alike(case: Case) -> None:
    """Products of unit gradients: those of class sums of one gradient per token."""
    _, layout, drawn = case
    gradient = np.random.default_rng(2).normal(size=(layout.sequence.size, 6))
    units = class_sums(gradient.T[None], layout)[0]
    forms = class_pairs(units.T @ units, SEQUENCES, CLASSES)
    found = form_means(forms, pair_counts(layout), drawn.weights)
    expected = mean_over(gradient @ gradient.T, masks(layout))
    np.testing.assert_allclose(found.value, expected, rtol=1e-11)
    assert found.replicate.shape == (40, CLASSES, CLASSES)


def test_a_class_without_pairs_is_not_a_number() -> None:
    losses, layout, drawn = a_case(4)
    alone = np.where((layout.token_class == 2) & (layout.sequence != 0), 1, layout.token_class)
    found = class_means(losses, layout._replace(token_class=alone), drawn)
    assert np.isnan(found.value[2, 2])
    assert np.isfinite(found.value[:2]).all()


def test_pairs_within_a_sequence_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    case = a_case(4)
    monkeypatch.setattr(token_groups, "quadratic", lambda m, w: ((m @ w.T) * w.T).sum(axis=-2))
    wrong = class_means(*case).value
    right = mean_over(covariance(case.losses).value, masks(case.layout))
    assert np.abs(wrong - right).max() > 1e-3


def test_losses_that_are_not_centred_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    case = a_case(4)
    right = mean_over(covariance(case.losses).value, masks(case.layout))
    monkeypatch.setattr(CentredChains, "block", lambda self, chain: self.losses[chain])
    assert np.abs(class_means(*case).value - right).max() > 1e-3


def test_both_errors_together_cover_a_known_law() -> None:
    """Losses g·z, z normal, mean loadings μ of each class: the mean covariance is μ_A·μ_B.

    300 replicates of fresh chains and fresh sequences. The variance of the estimates is known to
    8%; five of these below 1 is 0.6, so that a variance that leaves out the sequences (ratio 0.2)
    or the chains is caught. Above, both errors see the noise that chains and sequences have
    together, and the ratio may reach 2.
    """
    rng = np.random.default_rng(3)
    mean = np.array([[0.6, 0.0, 0.3], [0.0, 0.8, 0.3]])
    sequences, length, chains = 10, 6, 6
    token_class = np.tile([0, 1], sequences * length // 2)
    sequence = np.repeat(np.arange(sequences), length)
    layout = Layout(sequence, token_class, np.zeros_like(sequence), sequences, 2)
    values, errors = [], []
    for _ in range(300):
        own = rng.normal(size=(sequences, 2, 3))[sequence, token_class]
        loading = mean[token_class] + 0.7 * own + 0.3 * rng.normal(size=(sequence.size, 3))
        losses = rng.normal(size=(chains, 25, 3)) @ loading.T
        drawn = resample(rng, rng, replicates=60, sequences=sequences, chains=chains)
        found = class_means(losses, layout, drawn)
        values.append(found.value)
        errors.append([np.square(found.chain_se), np.square(found.sequence_se)])
    truth, variance = mean @ mean.T, np.var(values, axis=0)
    off = (np.mean(values, axis=0) - truth) / np.sqrt(variance / 300)
    assert np.abs(off).max() < 4.9
    chain, together = np.mean(errors, axis=0)[0] / variance, np.sum(np.mean(errors, axis=0), axis=0)
    assert ((0.6 < together / variance) & (together / variance < 2)).all()
    assert (chain < 0.6).all(), "the chains' error alone is too small"


@pytest.mark.parametrize("sequences", [0, 1])
def test_one_sequence_makes_no_pairs(sequences: int) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="record 2 or more"):
        resample(rng, rng, replicates=20, sequences=sequences, chains=4)


def test_one_chain_has_no_error_over_chains() -> None:
    losses, layout, drawn = a_case(4)
    with pytest.raises(ConfigError, match="need at least 2"):
        class_means(losses[:1], layout, Resampling(drawn.weights, drawn.deviates[:, :1]))
