"""Minibatches with as many samples of every stratum."""

import numpy as np
import pytest
import torch

from stagewise.errors import ConfigError
from stagewise.sampling.stratified import StratifiedStreams
from stagewise.sampling.streams import NoiseStreams

STRATUM = np.array([0, 1, 0, 1, 1, 0])


def streams(chains: int | list[int] = 3, batch_size: int = 4) -> StratifiedStreams:
    return StratifiedStreams(7, "test", chains, 5, stratum=STRATUM, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [2, 4, 10])
def test_every_minibatch_has_exactly_as_many_of_each(batch_size: int) -> None:
    made = streams(batch_size=batch_size)
    for step in range(130):  # beyond two blocks
        batch = made.batches(step).numpy()
        assert batch.shape == (3, batch_size)
        np.testing.assert_array_equal((STRATUM[batch] == 0).sum(axis=1), batch_size // 2)


def test_samples_of_a_stratum_are_drawn_alike() -> None:
    """12,800 draws of three: a share beyond 0.02 of 1/3 is five standard errors."""
    drawn = np.concatenate([streams(batch_size=20).batches(step).numpy() for step in range(640)])
    shares = np.bincount(drawn.ravel(), minlength=6) / (drawn.size / 2)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.02)


def test_chains_and_steps_have_numbers_of_their_own() -> None:
    made = streams(batch_size=20)
    first, second = made.batches(0), made.batches(1)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], second[0])


def test_strata_are_independent() -> None:
    """Places within the strata: their correlation over 25,600 draws has an error of 0.006."""
    made = streams(chains=20)
    drawn = np.concatenate([made.batches(step).numpy() for step in range(640)])
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 0.035


def test_a_chain_is_the_same_bits_whatever_runs_beside_it_and_wherever_it_resumes() -> None:
    together, alone, later = streams(), streams([2]), streams([2])
    whole = [together.batches(step)[2] for step in range(100)]
    assert all(torch.equal(alone.batches(step)[0], whole[step]) for step in range(100))
    assert torch.equal(later.batches(77)[0], whole[77])


def test_noise_is_that_of_the_plain_streams() -> None:
    plain = NoiseStreams(7, "test", 3, 5, batch_size=4, sample_count=6)
    assert torch.equal(plain.normal(3), streams().normal(3))


@pytest.mark.parametrize(
    ("stratum", "batch_size"), [(STRATUM, 3), (STRATUM, 0), (np.array([0, 0, 1]), 2)]
)
def test_uneven_shares_are_refused(stratum: np.ndarray, batch_size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of their number"):
        StratifiedStreams(7, "test", 3, 5, stratum=stratum, batch_size=batch_size)
