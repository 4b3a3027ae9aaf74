"""Language models that are retrained on documents, from text to scores, at tiny size.

Caught: a document's loss that is a sum or skips a token, weights in another order than the
model's, a gradient of another document, EK-FAC at another scale or damping than that of mean
losses, margins of one token, features of the wrong layer, trainings that start from weights of
their own, a stage that only images pass through.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stagewise.baselines.attributor import Trained, attribute
from stagewise.baselines.attributors.by_name import ATTRIBUTORS
from stagewise.baselines.attributors.trak import margin_gradients
from stagewise.baselines.exact import sample_gradients
from stagewise.cli.retraining_attribute import retraining_attribute
from stagewise.cli.retraining_calibrate import retraining_calibrate
from stagewise.cli.retraining_problem import CHECKPOINTS, load_problem, read_start, read_trained
from stagewise.cli.retraining_sample import retraining_sample
from stagewise.cli.retraining_targets import retraining_targets
from stagewise.cli.retraining_train import retraining_train
from stagewise.config.base import parse
from stagewise.config.retraining import (
    AttributeStage,
    ProblemStage,
    SampledStage,
    SampleStage,
    TargetStage,
    TrainStage,
)
from stagewise.data import short_documents
from stagewise.errors import ConfigError
from stagewise.evaluation.retraining_files import candidate, truths
from stagewise.models.documents import DocumentLoss
from stagewise.models.neox import build, flat_weights, set_flat_weights
from stagewise.storage import netcdf, targets
from stagewise.storage import scores as scores_file

METHODS = ("ekfac", "trak", "tracin", "gradient_similarity", "representation", "random")
TEXTS = [
    f"{other} is the {word} of something." for word in ("sum", "mean", "size") for other in "abcdef"
]
#: float32, in another order.
ROUNDING = 1e-4


def stage(**update: object) -> dict:
    half = {"alpha": 0.5, "subsets": 3, "seeds": 2}
    problem = {
        "source": {"kind": "docstrings", "package": "one", "length": 15, "pretraining": "two"},
        "network": {
            "kind": "neox",
            "layers": 1,
            "width": 8,
            "heads": 1,
            "rotary": 1.0,
            "parallel_residual": False,
            "init_scale": 0.1,
            "pretraining": {
                "steps": 3,
                "batch_size": 4,
                "learning_rate": 1e-2,
                "warmup": 1,
                "weight_decay": 0.0,
            },
        },
        "train": 12,
        "queries": 4,
        "recipe": {
            "kind": "descent",
            "steps": 4,
            "batch_size": 4,
            "learning_rate": 0.05,
            "momentum": 0.5,
            "weight_decay": 1e-3,
            "members": 2,
            "checkpoints": [2, 4],
        },
        "sets": {
            "scored_a50": {"role": "scored", **half},
            "tuning_a50": {"role": "tuning", **half},
        },
        "methods": ["bif", "bif_correlation", *METHODS],
    }
    return {"seed": 5, "name": "tiny", "problem": {**problem, **update}}


@pytest.fixture(scope="module", autouse=True)
def texts() -> object:
    """Two packages' docstrings, without reading any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(short_documents, "docstrings_of", lambda package: iter(TEXTS))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained network and its targets."""
    folder = tmp_path_factory.mktemp("language")
    retraining_train(parse(TrainStage, {**stage(), "labels": "clean"}), folder / "checkpoints.nc")
    for name in ("scored_a50", "tuning_a50"):
        settings = parse(TargetStage, {**stage(), "set_name": name})
        flags = folder / "scratch", folder / f"{name}.nc", folder / f"models_{name}.nc"
        retraining_targets(settings, *flags, folder / "checkpoints.nc")
    return folder


@pytest.fixture(scope="module")
def given(world: Path) -> Trained:
    problem = load_problem(parse(ProblemStage, stage()))
    return read_trained(world / "checkpoints.nc", problem, 5, world)


def by_hand(loss: DocumentLoss, w: Tensor, what: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Gradients of a function of every document's log p of all tokens and of its targets."""
    module = loss.module(w)
    rows = []
    for tokens in loss.inputs:
        module.zero_grad()
        what(module(tokens[None, :-1])[0].log_softmax(-1), tokens[1:]).backward()
        rows.append(torch.cat([one.grad.flatten() for one in module.parameters()]))
    return torch.stack(rows)


def mean_loss(logp: Tensor, own: Tensor) -> Tensor:
    return -logp.gather(-1, own[:, None]).mean()


def mean_margin(logp: Tensor, own: Tensor) -> Tensor:
    p = logp.gather(-1, own[:, None]).exp()
    return torch.log(p / (1 - p)).mean()


def close(one: Tensor, other: Tensor) -> None:
    scale = float(other.abs().max())
    assert scale > 0
    torch.testing.assert_close(one.double(), other.double(), atol=ROUNDING * scale, rtol=0)


def test_documents_are_the_beginnings_and_text_is_cut_into_pieces() -> None:
    found = short_documents.beginnings("one", 15)
    assert found.shape == (18, 16)
    assert "".join(short_documents.ALPHABET[one] for one in found[6]) == "a is the mean of"
    # Of those that begin alike the first is kept.
    assert short_documents.beginnings("one", 3).shape == (6, 4)
    pieces = short_documents.pieces("one", 15)
    text = short_documents.encoded("\n\n".join(TEXTS))
    assert np.array_equal(pieces.ravel(), text[: pieces.size])
    with pytest.raises(ConfigError, match="no docstring of 100 characters"):
        short_documents.beginnings("one", 99)


def test_a_loss_is_the_mean_over_a_documents_tokens(given: Trained) -> None:
    module = given.train.module(given.centre)
    with torch.no_grad():
        wanted = torch.stack(
            [
                mean_loss(module(tokens[None, :-1])[0].log_softmax(-1), tokens[1:])
                for tokens in given.train.inputs
            ]
        )
    close(given.train.losses(given.centre[None, None])[0, 0], wanted)
    close(given.train.module_losses(module), wanted)


def test_gradients_and_margins_are_those_of_single_documents(given: Trained) -> None:
    close(
        sample_gradients(given.train, given.centre), by_hand(given.train, given.centre, mean_loss)
    )
    gradients, missing = margin_gradients(given.queries, given.centre)
    close(gradients, by_hand(given.queries, given.centre, mean_margin))
    assert ((missing > 0) & (missing < 1)).all()


def scored(method: str, given: Trained, setting: int) -> Tensor:
    (found,) = attribute(method, ATTRIBUTORS[method], given, [setting])
    return found.value


def test_tracin_is_the_sum_over_checkpoints_of_products_by_hand(given: Trained) -> None:
    wanted = 0.0
    for w, rate in zip(given.weights[0], given.rates, strict=True):
        rows = [by_hand(one, w, mean_loss) for one in (given.queries, given.train)]
        wanted = wanted - rate * rows[0] @ rows[1].mT
    close(scored("tracin", given, 0), wanted)


def test_ekfac_at_a_large_damping_is_the_product_of_blocks_gradients(given: Trained) -> None:
    """(F + δ I)^-1 is 1/δ there: the exact answer has the scale and sign of mean losses."""
    from stagewise.baselines.attributors import ekfac

    tracked = torch.cat(
        [
            torch.full((one.numel(),), ".layers." in name and "norm" not in name)
            for name, one in given.train.empty_module().named_parameters()
        ]
    )
    rows = [
        by_hand(one, given.centre, mean_loss)[:, tracked] for one in (given.queries, given.train)
    ]
    damping = 1e6
    close(ekfac.prepare(given)(damping=damping), -rows[0] @ rows[1].mT / damping)


def test_trak_with_as_many_dimensions_as_weights_ranks_as_the_exact_kernel(given: Trained) -> None:
    """With P orthogonal in the mean its kernel is that of the whole gradients."""
    exact = []
    for w in given.weights[:, -1]:
        asked, samples = (by_hand(one, w, mean_margin) for one in (given.queries, given.train))
        gram = samples @ samples.mT
        ridge = 0.1 * float(samples.square().sum()) / given.train.parameter_count
        solved = torch.linalg.solve(gram + ridge * torch.eye(len(gram)), gram)
        exact.append(asked @ samples.mT @ torch.linalg.inv(gram) @ solved)
    missing = torch.stack([margin_gradients(given.train, w)[1] for w in given.weights[:, -1]])
    wanted = -sum(exact) / len(exact) * missing.mean(0)
    value = scored("trak", given, 5)
    assert np.corrcoef(value.flatten(), wanted.flatten())[0, 1] > 0.8


def test_features_are_the_last_layers_inputs(given: Trained) -> None:
    module = given.train.module(given.centre)
    features = given.train.features(given.centre)
    with torch.no_grad():
        logits = module(given.train.inputs[:, :-1])
    # The last layer is linear: mean features give mean logits.
    close(features @ module.model.get_output_embeddings().weight.mT, logits.mean(1))


def test_trainings_start_from_the_pretrained_weights(world: Path, given: Trained) -> None:
    problem = load_problem(parse(ProblemStage, stage()))
    start = read_start(world / "checkpoints.nc", problem)
    assert (flat_weights(problem.train.empty_module()) - start).abs().max() > 1e-3
    # At a step of next to nothing they stay where they started.
    recipe = {**stage()["problem"]["recipe"], "learning_rate": 1e-9}
    settings = parse(TargetStage, {**stage(recipe=recipe), "set_name": "scored_a50"})
    out, models = world / "still.nc", world / "still_models.nc"
    retraining_targets(settings, world / "scratch", out, models, world / "checkpoints.nc")
    stayed = torch.from_numpy(netcdf.read(models)["weights"].values)
    torch.testing.assert_close(stayed, start.expand_as(stayed), atol=1e-6, rtol=0)
    stored = netcdf.read(world / "checkpoints.nc", CHECKPOINTS)
    assert stored["weights"].shape == (2, 2, len(start))
    assert (given.weights[0, -1] - given.weights[1, -1]).abs().max() > 0
    assert targets.read(world / "scored_a50.nc").attrs["self_check"] < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_every_attributor_scores_it(world: Path, method: str) -> None:
    settings = parse(AttributeStage, {**stage(), "method": method})
    out = [world / f"{method}_{k}.nc" for k in range(9)]
    retraining_attribute(settings, world / "checkpoints.nc", world / "scratch", out)
    found = truths([targets.read(world / f"{name}.nc") for name in ("scored_a50", "tuning_a50")])
    for path in out:
        one = candidate(scores_file.read(path), found)
        assert one.scored[0.5].shape == (3, 4)
        assert np.isfinite(one.tuning).all()


def test_chains_are_calibrated_and_sampled(world: Path) -> None:
    goal = {"locality": 0.1, "bias": 0.9, "reliability": 0.1, "pilot_chains": 8}
    sampled = {
        "goal": {**goal, "batch_sizes": [4]},
        "damping": 10.0,
        "dampings": [3.0, 10.0, 30.0],
        "n_betas": [1e2, 1e3, 1e4],
        "chains": 8,
        "draws": 8,
    }
    settings = {**stage(), "sampled": sampled}
    calibration, checkpoints = world / "calibration.json", world / "checkpoints.nc"
    retraining_calibrate(parse(SampledStage, settings), checkpoints, calibration)
    out = [world / f"{name}_0.nc" for name in ("bif", "bif_correlation")]
    one = parse(SampleStage, {**settings, "setting": 4})
    retraining_sample(one, checkpoints, calibration, world / "scratch", out)
    for path in out:
        found = scores_file.read(path)["value"].values
        assert found.shape == (4, 12)
        assert 0 < np.abs(found).max() < np.inf


def test_weights_of_documents_are_refused(given: Trained) -> None:
    with pytest.raises(ConfigError, match="documents take no weights"):
        given.train.mean_and_gradient(
            given.centre[None, None], torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2)
        )


def test_weights_are_in_the_models_own_order() -> None:
    model = build(
        7, 8, layers=1, width=8, heads=1, expansion=2, rotary=1.0, parallel_residual=True, seed=1
    )
    loss = DocumentLoss(model, torch.arange(14).view(2, 7) % 7)
    w = flat_weights(model) + 0.1
    set_flat_weights(model, w)
    with torch.no_grad():
        wanted = model(input_ids=loss.inputs[:, :-1]).logits
        close(loss.module(w)(loss.inputs[:, :-1]), wanted)


def bad(**update: object) -> Callable[[], object]:
    return lambda: parse(ProblemStage, stage(**update))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (bad(source={"kind": "digits"}), "network.kind neox on source.kind digits"),
        (bad(methods=["exact_ggn"]), r"\['exact_ggn'\] form a matrix"),
        (
            bad(sets={"loo": {"role": "loo", "subsets": 2, "seeds": 2}}),
            "sets of role loo are not for neox",
        ),
    ],
)
def test_what_does_not_fit_is_refused(refused: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        refused()
