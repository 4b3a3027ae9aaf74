"""The noise streams' normal numbers made where they are needed: the same words on any device.

numpy's Philox is a pure function of key and counter: ten rounds of

    (c0, c1, c2, c3) -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)),

with hi and lo the halves of a 128-bit product and (W0, W1) added to the key between rounds. So a
GPU can make the words of ``stagewise.seeds`` bit for bit, rather than wait for a processor that
draws them and a bus that carries them: a model of 2.8 billion parameters needs 11 GB a step. Only
the logarithm, cosine and sine that make them normal round in their own way on each device.

torch has no unsigned 64-bit arithmetic: products of 32-bit halves in int64, which wrap as they
should, and shifts that fill with the sign, which are masked.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; numpy.random.Philox.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

#: Numbers made at once: temporaries of some 300 bytes each, and large enough to fill a GPU.
NUMBERS_AT_ONCE = 2**24

#: Counters of one call from which its rounds run as one kernel, which takes seconds to compile.
FUSED_FROM = 2**18

_M0, _M1 = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_W0, _W1 = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_ROUNDS, _MASK = 10, 0xFFFFFFFF
#: 32-bit words of one counter value.
_WORDS = 8

_Four = tuple[Tensor, Tensor, Tensor, Tensor]


def normals(
    keys: Sequence[np.ndarray], block: int, count: int, device: torch.device | str
) -> Float32[Tensor, "chain number"]:
    """Return the first numbers of one block of each chain's noise stream.

    What ``stagewise.sampling.streams.normal`` returns for ``generator_at(key, block)``, but for the
    rounding of three functions: some 1e-6 of a number's size.

    Args:
        keys: Key of each chain's stream, two unsigned 64-bit words.
        block: Number of the block, the highest word of the counter.
        count: Numbers of each chain.
        device: Where to make them.
    """
    pairs = (count + 1) // 2
    found = torch.empty(len(keys), 2 * pairs, device=device)
    at_once = max(_WORDS, NUMBERS_AT_ONCE // len(keys))
    for start in range(0, pairs, at_once):
        stop = min(start + at_once, pairs)
        # As in ``normal``: the first half of the words gives radii, the second angles.
        radius = words(keys, block, start, stop, device).float().abs_().mul_(2.0**-31)
        radius.clamp_min_(2.0**-33).log_().mul_(-2.0).sqrt_()
        angle = words(keys, block, pairs + start, pairs + stop, device).float()
        angle.mul_(math.pi * 2.0**-31)
        torch.mul(torch.cos(angle), radius, out=found[:, start:stop])
        torch.mul(angle.sin_(), radius, out=found[:, pairs + start : pairs + stop])
    return found[:, :count]


def words(
    keys: Sequence[np.ndarray], block: int, start: int, stop: int, device: torch.device | str
) -> Int32[Tensor, "chain word"]:
    """Return the 32-bit words ``start`` to ``stop`` of one block of each chain's stream."""
    first, last = start // _WORDS, -(-stop // _WORDS)
    counters = last - first
    # numpy counts up before it makes the first words.
    low = torch.arange(first + 1, last + 1, device=device).repeat(len(keys))
    table = torch.from_numpy(np.stack(keys).view(np.int64)).to(device)
    key = table.repeat_interleave(counters, dim=0)
    high = torch.full((1,), block, device=device)
    rounds = _fused() if low.is_cuda and len(low) >= FUSED_FROM else _philox
    four = rounds(low, high, key[:, 0], key[:, 1])
    flat = torch.stack(four, dim=1).view(torch.int32).view(len(keys), -1)
    offset = start - first * _WORDS
    return flat[:, offset : offset + stop - start]


def _philox(
    low: Int64[Tensor, " counter"],
    high: Int64[Tensor, " one"],
    key0: Int64[Tensor, " counter"],
    key1: Int64[Tensor, " counter"],
) -> _Four:
    """Return the four 64-bit words of each counter (low, 0, 0, high)."""
    c0, c1, c2, c3 = low, torch.zeros_like(low), torch.zeros_like(low), high.expand_as(low)
    for index in range(_ROUNDS):
        if index:
            key0, key1 = key0 + _signed(_W0), key1 + _signed(_W1)
        high0, low0 = _product(c0, _M0)
        high1, low1 = _product(c2, _M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
    return c0, c1, c2, c3


def _product(x: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """Return the high and the low half of the 128-bit product of unsigned numbers."""
    m0, m1 = constant & _MASK, constant >> 32
    x0, x1 = x & _MASK, (x >> 32) & _MASK
    p00, p01, p10 = x0 * m0, x0 * m1, x1 * m0
    middle = ((p00 >> 32) & _MASK) + (p01 & _MASK) + (p10 & _MASK)
    carry = ((p01 >> 32) & _MASK) + ((p10 >> 32) & _MASK) + (middle >> 32)
    return x1 * m1 + carry, x * _signed(constant)


def _signed(word: int) -> int:
    """Return the signed number of the same 64 bits."""
    return word - 2**64 if word >= 2**63 else word


@functools.cache
def _fused() -> Callable[[Tensor, Tensor, Tensor, Tensor], _Four]:
    """Return the rounds as one kernel: as four hundred, they are held up by memory."""
    return torch.compile(_philox, dynamic=True)
