"""Sums taken without keeping a draw give what the trace of the same draws gives."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import ConfigError, DivergenceError, SchemaError
from stagewise.estimators.accumulator import CovarianceSums, sums_bytes
from stagewise.estimators.diagnostics import diagnose
from stagewise.estimators.influence import bif, posterior_correlation
from stagewise.estimators.kernels import loss_kernel
from stagewise.estimators.local_learning import llc
from stagewise.storage import sums as sums_file
from support.traces import ATTRS, autoregressive, make_trace

CHECKPOINTS, DRAWS = 2, 30
RELATIVE = 1e-10


def drawn(chains: int, queries: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Float32 losses far from zero, slow enough for chains to differ in their means."""
    rng = np.random.default_rng(0)
    losses = 3.0 + autoregressive(rng, (CHECKPOINTS,), chains, DRAWS, 4.0)
    losses[1, ..., 2] = 0.5  # a loss that does not vary
    asked = losses[..., :2] ** 2 if queries else None
    return losses.astype(np.float32), None if asked is None else asked.astype(np.float32)


def summed(
    losses: np.ndarray,
    queries: np.ndarray | None,
    *,
    blocks: tuple[int, ...] = (1, 8, 21),
    gone_at: dict[int, np.ndarray] | None = None,
    chain: list[int] | None = None,
    **settings: object,
) -> xr.Dataset:
    """Feeds the draws in blocks; ``gone_at`` says which chains diverge in which block."""
    chains = losses.shape[1]
    width = None if queries is None else queries.shape[-1]
    sums = CovarianceSums(CHECKPOINTS, chains, losses.shape[-1], width, **settings)
    gone, start = np.zeros((CHECKPOINTS, chains), bool), 0
    for number, size in enumerate(blocks):
        gone = (gone_at or {}).get(number, gone)
        cut = np.s_[:, :, start : start + size]
        sums.add(np.s_[0:2], losses[cut], None if queries is None else queries[cut], gone)
        start += size
    series = np.zeros((CHECKPOINTS, chains, start))
    kept = {"loss_ref": np.ones((CHECKPOINTS, losses.shape[-1])), "status": gone,
            "query_loss_ref": None if width is None else np.ones((CHECKPOINTS, width)),
            "diverged_step": np.where(gone, 7, -1),
            **dict.fromkeys(("train_loss", "potential", "distance"), series)}  # fmt: skip
    return sums_file.from_arrays(
        sums.arrays,
        kept,
        chain_group=sums.group,
        centring=sums.centring,
        sample=[f"s{i}" for i in range(losses.shape[-1])],
        query=None if width is None else [f"q{i}" for i in range(width)],
        chain=list(range(chains)) if chain is None else chain,
        step=[3, 9],
        attrs=ATTRS | {"versions": "{}"},
    )


def same(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        size = float(np.abs(other[name]).max())
        np.testing.assert_allclose(
            one[name].values, other[name].values, rtol=RELATIVE, atol=RELATIVE * size * 0.1
        )
        assert one[name].dims == other[name].dims
    assert one.attrs["centring"] == other.attrs["centring"]


@pytest.mark.parametrize("queries", [False, True])
@pytest.mark.parametrize(("chains", "centring"), [(8, "across"), (4, "within"), (4, "across")])
def test_sums_give_what_the_trace_gives(chains: int, centring: str, queries: bool) -> None:
    """Catches a missing merge term, a divisor off by one, errors without the moving mean."""
    losses, asked = drawn(chains, queries)
    trace = make_trace(losses, queries=asked, step=[3, 9])
    sums = summed(losses, asked, centring=centring)
    same(bif(sums), bif(trace, centring))
    same(posterior_correlation(sums), posterior_correlation(trace, centring))
    learning, expected = llc(sums, samples=["s0", "s2"]), llc(trace, samples=["s0", "s2"])
    for name in ("value", "se"):
        np.testing.assert_allclose(learning[name], expected[name], rtol=RELATIVE)
    if not queries:
        same(loss_kernel(sums), loss_kernel(trace, centring))
    if centring == "within":
        for name in ("retained_fraction_min", "retained_fraction_median"):
            found, wanted = bif(sums).attrs[name], bif(trace, centring).attrs[name]
            assert found == pytest.approx(wanted, rel=1e-9)
    assert bif(sums).attrs["n_draws"] == 30
    assert bif(sums)["step"].values.tolist() == [3, 9]


@pytest.mark.parametrize("centring", ["across", "within"])
def test_how_draws_are_cut_into_blocks_changes_nothing(centring: str) -> None:
    losses, asked = drawn(8, True)
    one = summed(losses, asked, blocks=(30,), centring=centring)
    for blocks in ((1,) * 30, (7, 2, 21)):
        other = summed(losses, asked, blocks=blocks, centring=centring)
        same(bif(other), bif(one))
        same(posterior_correlation(other), posterior_correlation(one))


@pytest.mark.parametrize("centring", ["across", "within"])
def test_groups_of_chains_are_left_out_whole(centring: str) -> None:
    """Catches R_g without the term of the moving mean: compared with leaving chains out."""
    losses, _ = drawn(8, False)
    sums = summed(losses, None, blocks=(30,), centring=centring, groups=4)
    found, trace = bif(sums), make_trace(losses, step=[3, 9])
    np.testing.assert_allclose(found["value"], bif(trace, centring)["value"], rtol=1e-9)
    left = []
    for group in range(4):
        rest = trace.isel(chain=[k for k in range(8) if k // 2 != group])
        left.append(bif(rest, centring)["value"].values)
    expected = np.sqrt(3 / 4 * np.square(np.stack(left) - np.mean(left, axis=0)).sum(axis=0))
    np.testing.assert_allclose(found["se"], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("centring", ["across", "within"])
def test_a_chain_that_diverges_starts_the_sums_again_without_it(centring: str) -> None:
    """Catches a mean that a diverged chain still moves, and draws that are counted twice."""
    losses, _ = drawn(8, False)
    losses[0, 3, 12:] = np.nan
    gone = np.zeros((CHECKPOINTS, 8), bool)
    gone[0, 3] = True
    sums = summed(losses, None, blocks=(9, 11, 10), gone_at={1: gone}, centring=centring)
    assert sums["draws"].values.tolist() == [21, 30]
    status = gone.astype(int)
    late = make_trace(losses[:, :, 9:], status=status, step=[3, 9])
    whole = make_trace(losses, status=status, step=[3, 9])
    for estimate in (bif, loss_kernel):
        found = estimate(sums)
        same(found.isel(checkpoint=[0]), estimate(late, centring).isel(checkpoint=[0]))
        same(found.isel(checkpoint=[1]), estimate(whole, centring).isel(checkpoint=[1]))
    assert bif(sums).attrs["n_chains_dropped"] == 1


def test_too_few_chains_left_fail_with_the_remedy() -> None:
    losses, _ = drawn(4, False)
    gone = np.zeros((CHECKPOINTS, 4), bool)
    gone[1, :2] = True
    sums = summed(losses, None, gone_at={1: gone}, centring="across")
    with pytest.raises(DivergenceError, match="centre losses across chains.*lower step_size"):
        bif(sums)
    gone[1, 2] = True
    with pytest.raises(DivergenceError, match="only 1 stayed finite"):
        bif(summed(losses, None, gone_at={1: gone}, centring="across"))


@pytest.mark.parametrize("centring", ["across", "within"])
def test_blocks_of_chains_are_merged_centred_in_themselves(centring: str) -> None:
    """Within chains the whole; across chains the mean of the blocks' covariances by freedom."""
    losses, asked = drawn(8, True)
    parts = [
        summed(losses[:, ids], asked[:, ids], centring=centring, chain=ids)
        for ids in ([5, 6, 7], [0, 1, 2, 3, 4])
    ]
    merged = sums_file.merge(parts)
    assert merged["chain"].values.tolist() == list(range(8))
    if centring == "within":
        same(bif(merged), bif(make_trace(losses, queries=asked), "within"))
        return
    few, many = (bif(part)["value"].values for part in parts)
    np.testing.assert_allclose(bif(merged)["value"], (2 * few + 4 * many) / 6, rtol=1e-12)
    assert bif(merged).attrs["centring_blocks"] == 2
    with pytest.raises(SchemaError, match=r"chains \[0, 1, 2, 3, 4\] stand in more than one"):
        sums_file.merge([parts[1], parts[1]])


def test_blocks_with_a_diverged_chain_are_merged() -> None:
    """Catches degrees of freedom that are not counted block by block."""
    losses, _ = drawn(8, False)
    gone = np.zeros((CHECKPOINTS, 4), bool)
    gone[0, 2] = True
    parts = [
        summed(losses[:, :4], None, gone_at={2: gone}, centring="across", chain=[0, 1, 2, 3]),
        summed(losses[:, 4:], None, centring="across", chain=[4, 5, 6, 7]),
    ]
    merged = sums_file.merge(parts)
    assert merged["draws"].values.tolist() == [21, 30]
    short, whole = (bif(part)["value"].values for part in parts)
    weights = np.array([21 * 2, 30 * 3]) / (21 * 2 + 30 * 3)
    np.testing.assert_allclose(
        bif(merged)["value"][0], weights[0] * short[0] + weights[1] * whole[0], rtol=1e-12
    )
    assert bif(merged).attrs["n_chains_dropped"] == 1


def test_sums_survive_their_file_and_their_state(tmp_path: Path) -> None:
    losses, asked = drawn(8, True)
    sums = summed(losses, asked, centring="across")
    sums_file.write(sums, tmp_path / "sums.nc")
    xr.testing.assert_equal(sums_file.read(tmp_path / "sums.nc"), sums)
    one = CovarianceSums(2, 8, 3, 2, centring="within")
    one.add(np.s_[0:2], losses[:, :, :9], asked[:, :, :9], np.zeros((2, 8), bool))
    other = CovarianceSums(2, 8, 3, 2, centring="within")
    other.restore({name: array.copy() for name, array in one.state().items()})
    for half in (one, other):
        half.add(np.s_[0:2], losses[:, :, 9:], asked[:, :, 9:], np.zeros((2, 8), bool))
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


def test_what_sums_cannot_do_is_named() -> None:
    losses, asked = drawn(8, True)
    sums = summed(losses, asked, centring="across")
    with pytest.raises(ConfigError, match="record='covariance' keeps none"):
        diagnose(sums)
    with pytest.raises(ConfigError, match="record without queries"):
        loss_kernel(sums)
    with pytest.raises(ConfigError, match="were centred 'across'"):
        bif(sums, "within")
    with pytest.raises(ConfigError, match="need at least 3 chains, got 2"):
        CovarianceSums(1, 2, 3, centring="across")
    with pytest.raises(ConfigError, match="must divide the 8 chains"):
        CovarianceSums(1, 8, 3, centring="across", groups=3)


@pytest.mark.parametrize("queries", [None, 2])
def test_bytes_are_stated(queries: int | None) -> None:
    sums = CovarianceSums(2, 8, 3, queries, centring="within", groups=4)
    held = sum(array.nbytes for array in sums.arrays.values())
    assert held == sums_bytes(2, 8, 4, 3, queries)
