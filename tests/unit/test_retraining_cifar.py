"""ResNet-9 on CIFAR-10, from the files to scores and targets, at tiny size and on a CPU.

Caught: a stage that only digits pass through, an attributor that needs all gradients at once and
another result where it takes them in pieces, a block of subsets that is not what the set has there,
blocks of different sets taken for one.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stagewise.baselines import products
from stagewise.baselines.attributor import attribute
from stagewise.baselines.attributors import gradient_similarity, trak
from stagewise.baselines.attributors.by_name import ATTRIBUTORS
from stagewise.calibration import settings as calibration_file
from stagewise.calibration.settings import Calibration
from stagewise.cli.retraining_attribute import retraining_attribute
from stagewise.cli.retraining_join import joined_targets, retraining_join
from stagewise.cli.retraining_problem import load_problem, read_trained
from stagewise.cli.retraining_sample import retraining_sample
from stagewise.cli.retraining_targets import retraining_targets
from stagewise.cli.retraining_train import retraining_train
from stagewise.config.base import parse
from stagewise.config.retraining import (
    AttributeStage,
    ProblemStage,
    SampleStage,
    TargetStage,
    TrainStage,
)
from stagewise.data import cifar
from stagewise.errors import ConfigError, SchemaError
from stagewise.evaluation.retraining_files import candidate, truths
from stagewise.storage import netcdf, targets
from stagewise.storage import scores as scores_file
from support.cifar_files import write_cifar

METHODS = ("ekfac", "trak", "tracin", "gradient_similarity", "representation", "random")
#: float32 gradients, summed in another order.
ROUNDING = 1e-4


def stage(folder: Path, **update: object) -> dict:
    recipe = {
        "kind": "descent",
        "steps": 2,
        "batch_size": 8,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "members": 2,
        "checkpoints": [1, 2],
        "crops": {"crop": 4, "flip": True},
    }
    half = {"alpha": 0.5, "subsets": 3, "seeds": 2}
    problem = {
        "source": {"kind": "cifar10", "folder": str(folder)},
        "network": {"kind": "resnet9", "widths": [4, 4, 4, 4]},
        "train": 60,
        "queries": 4,
        "recipe": recipe,
        "sets": {
            "scored_a50": {"role": "scored", **half},
            "tuning_a50": {"role": "tuning", **half},
            "loo": {"role": "loo", "subsets": 2, "seeds": 2},
        },
        "methods": ["bif", "bif_correlation", *METHODS],
    }
    return {"seed": 5, "name": "tiny", "problem": {**problem, **update}}


SAMPLED = {
    "goal": {
        "locality": 0.1,
        "bias": 0.9,
        "reliability": 0.1,
        "pilot_chains": 8,
        "batch_sizes": [16],
    },
    # Above the negative curvature of a network that is hardly trained.
    "damping": 100.0,
    "dampings": [80.0, 100.0, 120.0],
    "n_betas": [1e2, 1e3, 1e4],
    "chains": 8,
    "draws": 8,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data and the trained network."""
    folder = tmp_path_factory.mktemp("cifar")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar, "CIFAR10", write_cifar(folder))
        settings = parse(TrainStage, {**stage(folder), "labels": "clean"})
        retraining_train(settings, folder / "checkpoints.nc")
        yield folder


def made(world: Path, name: str, start: int | None = None, block: int | None = None) -> Path:
    out = world / f"{name}_{start}_{block}.nc"
    if out.exists():  # by another test
        return out
    settings = parse(
        TargetStage, {**stage(world), "set_name": name, "start": start, "block": block}
    )
    retraining_targets(settings, world / "scratch", out, out.with_suffix(".models"))
    return out


@pytest.mark.parametrize("name", ["scored_a50", "loo"])
def test_blocks_are_the_set(world: Path, name: str) -> None:
    whole = targets.read(made(world, name))
    parts = [made(world, name, start, 2) for start in range(0, len(whole["mask"]), 2)]
    out, models = world / f"{name}.nc", world / f"{name}_models.nc"
    retraining_join(parts, [one.with_suffix(".models") for one in parts], out, models)
    joined, kept = targets.read(out), netcdf.read(models)
    # Each network is trained for itself: nothing depends on what it stands beside.
    for variable in ("loss", "mask"):
        assert np.array_equal(joined[variable].values, whole[variable].values)
    for name in ("problem", "role", "alpha", "steps", "models_trained"):
        assert joined.attrs[name] == whole.attrs[name]
    assert 0 <= joined.attrs["self_check"] < 1e-4
    assert "retraining_join" in joined.attrs["provenance"]
    places = list(zip(kept["subset"].values, kept["seed"].values, strict=True))
    assert len(set(places)) == len(places)
    stored = np.stack([whole["loss"].values[place] for place in places])
    np.testing.assert_allclose(kept["loss"].values, stored)


def test_blocks_of_different_sets_are_not_joined(world: Path) -> None:
    paths = [made(world, name, 0, 2) for name in ("scored_a50", "tuning_a50")]
    with pytest.raises(SchemaError, match=r"tuning.* are blocks of different retrainings"):
        joined_targets([targets.read(path) for path in paths], paths)


def test_a_block_beyond_the_set_is_refused(world: Path) -> None:
    with pytest.raises(ConfigError, match="scored_a50 of tiny has 3 subsets, .* 0 to 2"):
        made(world, "scored_a50", 4, 2)


def scored(world: Path, method: str) -> list[Path]:
    """Files of all settings of an attributor."""
    out = [world / f"{method}_{k}.nc" for k in range(9)]
    if not out[-1].exists():
        settings = parse(AttributeStage, {**stage(world), "method": method})
        retraining_attribute(settings, world / "checkpoints.nc", world / "scratch", out)
    return out


@pytest.mark.parametrize("method", METHODS)
def test_every_attributor_scores_it(world: Path, method: str) -> None:
    found = truths([targets.read(made(world, name)) for name in ("scored_a50", "tuning_a50")])
    for path in scored(world, method):
        one = candidate(scores_file.read(path), found)
        assert one.scored[0.5].shape == (3, 4)
        assert np.isfinite(one.tuning).all()


def test_chains_with_minibatches_sample_it(world: Path) -> None:
    """With a calibration that is given: to search for one takes a minute of a CPU."""
    found = Calibration(
        kernel="baoab",
        step_size=1e-7,
        friction=-math.expm1(-2 * math.sqrt(0.5 * 1e-7 * 1e5)),
        n_beta=1e3,
        localization=1e5,
        potential="recentred",
        control_variate=True,
        batch_size=16,
        chains=8,
        burn_in=2,
        draws=8,
        spacing=1,
        evidence={"curvature_largest": 100.0, "seconds_spent": 0.0},
        table=(),
    )
    calibration = world / "calibration.json"
    calibration_file.write(found, calibration)
    out = [world / f"{name}_0.nc" for name in ("bif", "bif_correlation")]
    # Damping 100 and nβ 1e3, those of the calibration.
    one = parse(SampleStage, {**stage(world), "sampled": SAMPLED, "setting": 4})
    retraining_sample(one, world / "checkpoints.nc", calibration, world / "scratch", out)
    for path in out:
        found = scores_file.read(path)
        assert found["value"].shape == (4, 60)
        assert np.isfinite(found["value"].values).all()
    assert float(np.abs(scores_file.read(out[0])["value"].values).max()) > 0


@pytest.mark.parametrize("method", ["trak", "tracin", "gradient_similarity"])
def test_gradients_in_pieces_give_the_same_scores(
    world: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = load_problem(parse(ProblemStage, stage(world)))
    given = read_trained(world / "checkpoints.nc", problem, 5, world)
    held = [scores_file.read(path)["value"].values for path in scored(world, method)]
    for module, name, small in (
        (products, "MOST_HELD", 7 * given.train.parameter_count),
        (trak, "MOST_HELD", 7 * given.train.parameter_count),
        (trak, "CHUNK", 7),
        (trak, "ROWS", 1000),
        (gradient_similarity, "MOST_SQUARED", 10),
    ):
        monkeypatch.setattr(module, name, small)
    pieces = attribute(method, ATTRIBUTORS[method], given)
    for one, other in zip(held, pieces, strict=True):
        scale = float(np.abs(one).max())
        np.testing.assert_allclose(other.value.numpy(), one, atol=ROUNDING * scale, rtol=0)


def bad(**update: object) -> Callable[[], object]:
    return lambda: parse(ProblemStage, stage(Path("data"), **update))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (bad(source={"kind": "digits"}), "mlp and conv on digits; resnet9 on cifar10"),
        (bad(network={"kind": "mlp", "hidden": [4]}), "mlp and conv on digits; resnet9 on cifar10"),
        (bad(methods=["exact_ggn", "random"]), r"\['exact_ggn'\] form a matrix"),
    ],
)
def test_what_does_not_fit_is_refused(refused: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        refused()


def test_a_job_has_a_start_and_a_block(world: Path) -> None:
    with pytest.raises(ConfigError, match="give both or neither"):
        parse(TargetStage, {**stage(world), "set_name": "loo", "start": 0})
