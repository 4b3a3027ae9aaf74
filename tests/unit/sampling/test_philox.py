"""Noise that is made on a device, against numpy's own Philox.

Caught: a wrong constant or round; a carry lost in a product of unsigned numbers; a counter that
starts at 0; words in another order; pieces that overlap or leave a gap; one chain's key for all.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch

from stagewise import seeds
from stagewise.sampling import philox
from stagewise.sampling.streams import NoiseStreams, normal, steps_per_block

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device"))]  # fmt: skip
KEYS = [seeds.stream_key(7, "philox", "noise", chain) for chain in range(3)]
#: Largest radius, 6.8, times a few units in the last place of a cosine, a root and a logarithm.
ROUNDING = 6.8 * 8 * 2.0**-23


def drawn(count: int, block: int) -> np.ndarray:
    return np.stack([normal(seeds.generator_at(key, block), count) for key in KEYS])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("start", "stop"), [(0, 8), (3, 29), (16, 17), (1001, 5000)])
def test_words_are_those_of_numpy(device: str, start: int, stop: int) -> None:
    """Whole numbers: equal bit for bit."""
    words = philox.words(KEYS, 5, start, stop, device).cpu().numpy()
    for row, key in zip(words, KEYS, strict=True):
        rng = seeds.generator_at(key, 5)
        raw = rng.integers(0, 2**64 - 1, stop, dtype=np.uint64, endpoint=True).view(np.int32)
        np.testing.assert_array_equal(row, raw[start:stop])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, 2, 7, 8, 1001, 4096])
def test_normals_are_those_of_the_streams(device: str, count: int) -> None:
    found = philox.normals(KEYS, 2, count, device).cpu().numpy()
    np.testing.assert_allclose(found, drawn(count, 2), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("device", DEVICES)
def test_pieces_change_nothing(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(philox, "NUMBERS_AT_ONCE", 48)
    found = philox.normals(KEYS, 2, 1003, device).cpu().numpy()
    np.testing.assert_allclose(found, drawn(1003, 2), rtol=0, atol=ROUNDING)


ONE_KERNEL = """
import torch
from stagewise import seeds
from stagewise.sampling import philox
keys = [seeds.stream_key(7, "philox", "noise", chain) for chain in range(3)]
apart = philox.words(keys, 1, 0, 10_000, "cuda")
philox.FUSED_FROM = 1
assert torch.equal(philox.words(keys, 1, 0, 10_000, "cuda"), apart)
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_one_kernel_makes_the_same_words() -> None:
    """The rounds as one compiled kernel against the same rounds one by one.

    In a process of its own, where functions don't check their arguments: that can't be compiled.
    """
    done = subprocess.run([sys.executable, "-c", ONE_KERNEL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("parameters", [5, 1000, 2**18 + 3])
def test_streams_of_a_gpu_are_those_of_the_cpu(parameters: int) -> None:
    """Steps on both sides of a block's end; minibatches and uniform numbers bit for bit."""
    here, there = (
        NoiseStreams(3, "e", [4, 0], parameters, batch_size=6, sample_count=50, device=device)
        for device in ("cpu", "cuda")
    )
    block = steps_per_block(parameters)
    for step in (0, block - 1, block, 2 * block + 1):
        found = there.normal(step)
        assert found.is_cuda
        np.testing.assert_allclose(
            found.cpu().numpy(), here.normal(step).numpy(), rtol=0, atol=ROUNDING
        )
        assert torch.equal(there.batches(step).cpu(), here.batches(step))
        assert torch.equal(there.uniform(step).cpu(), here.uniform(step))
