import pytest
import torch

from stagewise import seeds
from stagewise.errors import ConfigError
from stagewise.sampling.streams import MOST_NUMBERS, NoiseStreams, steps_per_block


def streams(chains: object = 3, parameters: int = 50, **settings: object) -> NoiseStreams:
    settings = {"seed": 5, "experiment": "toy", "batch_size": 4, "sample_count": 9, **settings}
    seed, experiment = settings.pop("seed"), settings.pop("experiment")
    return NoiseStreams(seed, experiment, chains, parameters, **settings)


def test_noise_is_the_named_block_of_the_chains_own_stream() -> None:
    found = streams().normal(70)  # step 6 of block 1
    for chain in range(3):
        rng = seeds.block_generator(5, "toy", "noise", chain, block=1)
        block = torch.from_numpy(rng.standard_normal((64, 50), dtype="float32"))
        assert torch.equal(found[chain], block[6])


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
