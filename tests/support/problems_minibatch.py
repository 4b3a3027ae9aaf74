"""Moments up to the fourth of SGLD with minibatches on quadratic losses, by exact recursion.

A step is affine in d and random in its batch: with x = (d, 1), x' = F_B x + (sqrt(e) xi, 0). So the
second and fourth moments of x follow from those before. The law isn't Gaussian: the spread of a
sampled variance, and the covariance of quadratic losses, must be taken from these.
"""

from collections import Counter
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import NamedTuple

import numpy as np

from support.problems import Regression, Settings


class Moments(NamedTuple):
    """E[x x] and E[x x x x] of x = (d, 1)."""

    second: np.ndarray
    fourth: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.second[:-1, -1]

    @property
    def covariance(self) -> np.ndarray:
        return self.second[:-1, :-1] - np.outer(self.mean, self.mean)


def minibatch_moments(
    problem: Regression,
    settings: Settings,
    batch_size: int,
    steps: int,
    slopes: np.ndarray | None = None,
) -> Moments:
    """Moments after so many steps from w*, batches drawn with replacement.

    ``slopes`` are the samples' gradients at w* as the chain sees them, by default their own.
    """
    slopes = problem.gradients if slopes is None else slopes
    size, samples = problem.centre.size, len(problem.targets)
    batches = list(combinations_with_replacement(range(samples), batch_size))
    weight = np.array([_chance(batch, samples) for batch in batches])
    members = np.array(batches)
    half = settings.step_size / 2
    maps = np.zeros((len(batches), size + 1, size + 1))
    curvature = settings.n_beta * problem.hessians[members].mean(axis=1)
    maps[:, :size, :size] = np.eye(size) * (1 - half * settings.localization) - half * curvature
    maps[:, :size, size] = -half * settings.n_beta * slopes[members].mean(axis=1)
    maps[:, size, size] = 1
    noise = np.diag([settings.step_size] * size + [0.0])
    last = np.zeros(size + 1)
    last[size] = 1
    moments = Moments(np.outer(last, last), np.einsum("a,b,c,d->abcd", last, last, last, last))
    for _ in range(steps):
        moments = _step(moments, maps, weight, noise)
    return moments


def _chance(batch: tuple[int, ...], samples: int) -> float:
    """The chance that ordered draws with replacement make up this batch."""
    repeats = prod(factorial(count) for count in Counter(batch).values())
    return factorial(len(batch)) / repeats / samples ** len(batch)


def _step(moments: Moments, maps: np.ndarray, weight: np.ndarray, noise: np.ndarray) -> Moments:
    second = np.einsum("b,bij,jk,blk->il", weight, maps, moments.second, maps, optimize=True)
    moved = np.broadcast_to(moments.fourth, (len(maps), *moments.fourth.shape))
    for _ in range(4):  # each turn maps one axis and puts it last
        moved = np.einsum("bai,bijkl->bjkla", maps, moved, optimize=True)
    fourth = np.einsum("b,bijkl->ijkl", weight, moved)
    pairings = ("abcd", "acbd", "adbc")
    for pairing in pairings:
        fourth = fourth + np.einsum(f"{pairing[:2]},{pairing[2:]}->abcd", second, noise)
        fourth = fourth + np.einsum(f"{pairing[:2]},{pairing[2:]}->abcd", noise, second)
        fourth = fourth + np.einsum(f"{pairing[:2]},{pairing[2:]}->abcd", noise, noise)
    return Moments(second + noise, fourth)


def standardised(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The map W for which y = W x has mean 0 and covariance I, and the variances of y_a y_b."""
    values, vectors = np.linalg.eigh(moments.covariance)
    whiten = (vectors / np.sqrt(values)).T
    whole = np.concatenate([whiten, -(whiten @ moments.mean)[:, None]], axis=1)
    fourth = np.einsum(
        "ai,aj,bk,bl,ijkl->ab", whole, whole, whole, whole, moments.fourth, optimize=True
    )
    return whole, fourth - np.eye(len(values))


def loss_moments(problem: Regression, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Mean (sample,) and covariance (sample, sample) of l_i(w) - l_i(w*), a quadratic in x."""
    samples, size = problem.inputs.shape
    forms = np.zeros((samples, size + 1, size + 1))
    forms[:, :size, :size] = problem.hessians / 2
    forms[:, :size, size] = forms[:, size, :size] = problem.gradients / 2
    mean = np.einsum("sij,ij->s", forms, moments.second)
    products = np.einsum("sij,tkl,ijkl->st", forms, forms, moments.fourth, optimize=True)
    return mean, products - np.outer(mean, mean)
