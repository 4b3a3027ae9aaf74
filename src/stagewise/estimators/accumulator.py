"""Sums from which covariances of losses come with errors, without a draw being kept.

For every group g of chains the sums hold what leaving it out would take away, so that the jackknife
survives: with S the sum of products of centred losses over all chains and draws, and f its degrees
of freedom,

    Cov = S / f,        Cov without g = (S - R_g) / (f - f_g).

*Across chains at each draw*, with C chains of which g holds m and x~ = x - mean over chains,

    R_g = sum_t [ sum_{k in g} x~_k y~_k' + s_x s_y' / (C - m) ],   s = sum_{k in g} x~_k,

because the mean moves when g goes; f = T(C - 1), f_g = T m. *Within a chain* R_g is g's own part,
f = C(T - 1), f_g = m(T - 1), and a block of draws is merged into the running means by
S += S_block + (d - d')(d - d')' n n'/(n + n') (Chan, Golub & LeVeque 1979). All in float64.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from stagewise.errors import ConfigError


def sums_bytes(
    checkpoints: int, chains: int, groups: int, samples: int, queries: int | None = None
) -> int:
    """Return the bytes of the sums; ``queries`` None means that the samples are their own."""
    side = samples + (queries or 0)
    matrices = (groups + 1) * samples * (queries or samples)
    return 8 * checkpoints * (matrices + side * (groups + chains + 2) + groups + 2)


class CovarianceSums:
    """Takes losses block by block of draws, and keeps their sums for every checkpoint.

    When a chain diverges, the checkpoint's sums begin again without it at that block of draws: what
    it had put into the means can't be taken out. ``draws`` then says how many the sums hold.

    Args:
        checkpoints: Number of checkpoints.
        chains: Number of chains.
        samples: Number of samples.
        queries: Number of queries; None for none, and then the samples are their own.
        centring: "across" chains at each draw, or "within" each chain.
        groups: Groups of neighbouring chains that the jackknife leaves out, one chain each by
            default. Fewer take less memory and make the error less certain.

    Attributes:
        arrays: The sums by name, as the schema of ``stagewise.storage.sums`` has them.
        group: Group of each chain.

    Raises:
        ConfigError: Too few chains for this centring, or groups that don't divide the chains.
    """

    def __init__(
        self,
        checkpoints: int,
        chains: int,
        samples: int,
        queries: int | None = None,
        *,
        centring: Literal["across", "within"],
        groups: int | None = None,
    ) -> None:
        """Make the arrays, all zero."""
        groups = chains if groups is None else groups
        least = 3 if centring == "across" else 2
        if chains < least:
            raise ConfigError(
                f"sums centred {centring} chains need at least {least} chains, got {chains}; run "
                "more chains in one block"
            )
        if groups < 2 or chains % groups:
            raise ConfigError(
                f"groups is {groups}; it must divide the {chains} chains and be at least 2"
            )
        self.centring, self.group = centring, np.arange(chains) // (chains // groups)
        self._own = queries is None
        left = samples if queries is None else queries
        shapes: dict[str, tuple[int, ...]] = {
            "product": (left, samples),
            "product_out": (groups, left, samples),
            "freedom": (),
            "freedom_out": (groups,),
            "draws": (),
        }
        for side, width in (("sample", samples), ("query", queries)):
            if width is not None:
                shapes[f"{side}_square"] = (width,)
                shapes[f"{side}_square_out"] = (groups, width)
                shapes[f"{side}_mean"] = (chains, width)
                shapes[f"{side}_size"] = (width,)
        self.arrays = {name: np.zeros((checkpoints, *shape)) for name, shape in shapes.items()}
        self._gone = np.zeros((checkpoints, chains), bool)

    def add(
        self,
        block: slice,
        losses: Float[np.ndarray, "checkpoint chain draw sample"],
        queries: Float[np.ndarray, "checkpoint chain draw query"] | None,
        gone: Bool[np.ndarray, "checkpoint chain"],
    ) -> None:
        """Take the next draws of a range of checkpoints.

        Args:
            block: Which checkpoints.
            losses: Losses of the samples, nats.
            queries: Losses of the queries, nats, where there are any.
            gone: Which chains have diverged so far.
        """
        for place, index in enumerate(range(*block.indices(len(self._gone)))):
            if (gone[place] & ~self._gone[index]).any():
                self._gone[index] = gone[place]
                for array in self.arrays.values():
                    array[index] = 0.0
            keep = ~self._gone[index]
            if keep.sum() >= 2:
                asked = None if queries is None else queries[place][keep]
                self._take(index, keep, losses[place][keep], asked)

    def state(self) -> dict[str, np.ndarray]:
        """Return all that a resumed run needs."""
        return {**self.arrays, "gone": self._gone}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state that was saved."""
        for name, array in self.arrays.items():
            array[...] = state[name]
        self._gone[...] = state["gone"]

    def _take(
        self, index: int, keep: np.ndarray, samples: np.ndarray, queries: np.ndarray | None
    ) -> None:
        right = self._centred(index, "sample", keep, samples)
        left = right if queries is None else self._centred(index, "query", keep, queries)
        here = {name: array[index] for name, array in self.arrays.items()}
        chains, draws = samples.shape[:2]
        # The first block of draws pays for the mean of each chain.
        own = draws if self.centring == "across" else draws - (here["draws"] == 0)
        for group in np.unique(self.group[keep]):
            members = self.group[keep] == group
            rest = chains - int(members.sum()) if self.centring == "across" else None
            x, y = right[members], left[members]
            product, out = _sums(y, x, rest)
            here["product"] += product
            here["product_out"][group] += out
            for side, values in (("sample", x),) if self._own else (("sample", x), ("query", y)):
                square, square_out = _squares(values, rest)
                here[f"{side}_square"] += square
                here[f"{side}_square_out"][group] += square_out
            here["freedom_out"][group] += own * members.sum()
        self.arrays["freedom"][index] += own * (chains - (self.centring == "across"))
        if self.centring == "within":
            self.arrays["freedom"][index] = here["freedom_out"].sum()
        self.arrays["draws"][index] += draws

    def _centred(
        self, index: int, side: str, keep: np.ndarray, losses: np.ndarray
    ) -> Float64[np.ndarray, "chain row n"]:
        """Return rows whose products add up to the sums, and move the means on."""
        values = losses.astype(np.float64)
        size, means = self.arrays[f"{side}_size"][index], self.arrays[f"{side}_mean"][index]
        np.maximum(size, np.abs(values).max(axis=(0, 1)), out=size)
        before, draws = self.arrays["draws"][index], values.shape[1]
        mean = values.mean(axis=1)
        step = mean - means[keep]
        means[keep] += step * (draws / (before + draws))
        if self.centring == "across":
            return values - values.mean(axis=0)
        merged = step * np.sqrt(before * draws / (before + draws))
        return np.concatenate([values - mean[:, None], merged[:, None]], axis=1)


def _sums(left: np.ndarray, right: np.ndarray, rest: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of products over a group (chain, row, n), and what leaving it out takes."""
    product = left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
    if rest is None:
        return product, product
    if len(left) == 1:
        return product, product * (1 + 1 / rest)
    return product, product + left.sum(axis=0).T @ right.sum(axis=0) / rest


def _squares(values: np.ndarray, rest: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the diagonal of ``_sums``."""
    square = np.square(values).sum(axis=(0, 1))
    moved = 0.0 if rest is None else np.square(values.sum(axis=0)).sum(axis=0) / rest
    return square, square + moved
