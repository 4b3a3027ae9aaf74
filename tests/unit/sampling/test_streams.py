import numpy as np
import pytest
import torch
from scipy import stats

from stagewise import seeds
from stagewise.errors import ConfigError
from stagewise.sampling.streams import (
    MOST_NUMBERS,
    PAIRS_AT_ONCE,
    NoiseStreams,
    normal,
    steps_per_block,
)


def streams(chains: object = 3, parameters: int = 50, **settings: object) -> NoiseStreams:
    settings = {"seed": 5, "experiment": "toy", "batch_size": 4, "sample_count": 9, **settings}
    seed, experiment = settings.pop("seed"), settings.pop("experiment")
    return NoiseStreams(seed, experiment, chains, parameters, **settings)


def test_noise_is_the_named_block_of_the_chains_own_stream() -> None:
    found = streams().normal(70)  # step 6 of block 1
    for chain in range(3):
        rng = seeds.block_generator(5, "toy", "noise", chain, block=1)
        block = normal(rng, 64 * 50).reshape(64, 50)
        assert torch.equal(found[chain], torch.from_numpy(block[6]))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_chain_draws_the_same_alone_or_in_company(threads: int) -> None:
    together, alone = streams(6, threads=threads), streams([4])
    for step in (0, 1, 63, 64, 200, 3):
        assert torch.equal(together.normal(step)[4], alone.normal(step)[0])
        assert torch.equal(together.batches(step)[4], alone.batches(step)[0])
        assert torch.equal(together.uniform(step)[4], alone.uniform(step)[0])
    together.close()


def test_steps_may_be_asked_for_in_any_order() -> None:
    forward, backward = streams(), streams()
    steps = list(range(0, 150, 7))
    one = {step: forward.normal(step) for step in steps}
    other = {step: backward.normal(step) for step in reversed(steps)}
    assert all(torch.equal(one[step], other[step]) for step in steps)


def test_streams_stay_usable_when_closed() -> None:
    source = streams(threads=2)
    first = source.normal(0)
    source.close()
    assert torch.equal(source.normal(64), streams().normal(64))
    assert torch.equal(source.normal(0), first)
    source.close()


def test_seeds_experiments_chains_and_purposes_differ() -> None:
    base = streams().normal(0)
    assert not torch.equal(base, streams(seed=6).normal(0))
    assert not torch.equal(base, streams(experiment="other").normal(0))
    assert not torch.equal(base[0], base[1])
    batches = streams(batch_size=9).batches(0)
    assert not torch.equal(batches[0], batches[1])


def test_numbers_have_the_laws_they_should() -> None:
    source = streams(64, parameters=400, batch_size=64)
    normal = torch.stack([source.normal(step) for step in range(20)])
    assert abs(float(normal.mean())) < 5 / normal.numel() ** 0.5
    assert abs(float(normal.var()) - 1) < 5 * (2 / normal.numel()) ** 0.5
    counts = torch.bincount(source.batches(0).flatten(), minlength=9)
    assert len(counts) == 9
    assert float(((counts - 4096 / 9) ** 2 / (4096 / 9)).sum()) < 45  # chi2(8), p < 1e-6
    assert source.uniform(0).min() >= 0
    assert source.uniform(0).max() < 1


@pytest.mark.parametrize("count", [1, 2, 51, 2 * PAIRS_AT_ONCE + 3])
def test_normal_numbers_are_box_and_mullers(count: int) -> None:
    words = seeds.generator(1, "a").integers(
        0, 2**64 - 1, (count + 1) // 2, dtype=np.uint64, endpoint=True
    )
    bits = words.view(np.int32).astype(np.float64)
    one, other = np.split(bits, 2)
    radius = np.sqrt(-2 * np.log(np.maximum(np.abs(one), 0.25) / 2**31))
    angle = np.pi * other / 2**31
    wanted = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
    np.testing.assert_allclose(normal(seeds.generator(1, "a"), count), wanted, atol=5e-6)


def test_normal_numbers_pass_for_normal() -> None:
    """False-fail rate 1e-6 for each of the four statements.

    A million numbers show a distribution function that is 0.0027 off somewhere, a correlation of
    0.005 between neighbours or between the two of a pair, and tails that are a third too light.
    """
    count, surprise = 10**6, 4.9  # two-sided 1e-6
    found = normal(seeds.generator(2, "b"), count).astype(np.float64)
    assert stats.kstest(found, "norm").pvalue > 1e-6
    for lag in (1, count // 2):
        for power in (1, 2):  # squares share a radius, if angle and radius were not independent
            x = found**power - (power == 2)
            z = (x[lag:] * x[:-lag]).mean() * np.sqrt(count - lag) / x.var()
            assert abs(z) < surprise
    beyond = (np.abs(found) > 3.5).sum()
    assert stats.poisson.cdf(beyond, count * 2 * stats.norm.sf(3.5)) > 1e-6
    assert stats.poisson.sf(beyond - 1, count * 2 * stats.norm.sf(3.5)) > 1e-6


class Words(np.random.Generator):
    """A generator of fixed bits."""

    def __init__(self, radius: int, angle: int) -> None:
        super().__init__(np.random.Philox(0))
        self.pair = np.array([radius, angle], np.int32)

    def integers(self, *_: object, **__: object) -> np.ndarray:
        return self.pair.view(np.uint64)


@pytest.mark.parametrize(("radius", "largest"), [(0, 6.7638), (1, 6.5556), (-(2**31), 0.0)])
def test_extreme_bits_give_finite_numbers(radius: int, largest: float) -> None:
    for angle in (0, 2**31 - 1, -(2**31)):
        assert np.abs(normal(Words(radius, angle), 2)).max() == pytest.approx(largest, abs=1e-4)


def test_blocks_depend_on_the_length_of_a_vector_only() -> None:
    assert steps_per_block(1) == steps_per_block(4096) == 64
    assert steps_per_block(10 * MOST_NUMBERS) == 1
    assert streams(2, parameters=8192).steps == streams(64, parameters=8192).steps == 32


def test_noise_is_converted_not_redrawn() -> None:
    double = streams(dtype=torch.float64).normal(3)
    assert double.dtype == torch.float64
    assert torch.equal(double.float(), streams().normal(3))


def test_full_gradients_have_no_batches() -> None:
    assert streams(batch_size=None).batches(0) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chains": 0}, "positive number or distinct ids"),
        ({"chains": [1, 1]}, "positive number or distinct ids"),
        ({"batch_size": 0}, "positive batch size"),
        ({"sample_count": None}, "number of samples"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        streams(**settings)
