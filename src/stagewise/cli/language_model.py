"""What the torch stages of the language experiments share: models, checkpoints, held-out text."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from stagewise.config.language import NetworkSettings, PretrainedSettings
from stagewise.errors import SchemaError
from stagewise.models.neox import build, set_flat_weights
from stagewise.models.pretrained import load_pretrained
from stagewise.seeds import seed_sequence
from stagewise.storage import corpus as corpus_file
from stagewise.training.language_scores import Held

Network = NetworkSettings | PretrainedSettings


def device() -> torch.device:
    """Return the GPU that this job was given, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def new_model(network: NetworkSettings, corpus: xr.Dataset, seed: int, run_seed: int) -> nn.Module:
    """Return a model with the weights that training seed ``run_seed`` begins with."""
    return build(
        corpus.sizes["token"],
        corpus.sizes["predicted"],
        **network.model_dump(exclude={"kind"}),
        seed=int(seed_sequence(seed, "language", "init", run_seed).generate_state(1)[0]),
    )


def checkpoints(
    network: Network, corpus: xr.Dataset, training: xr.Dataset, steps: Sequence[int]
) -> tuple[nn.Module, list[dict[str, Tensor]]]:
    """Return a model and its state dicts at some steps.

    Raises:
        SchemaError: A step was not kept.
    """
    if isinstance(network, PretrainedSettings):
        models = [load_pretrained(network.model, step, network.cache) for step in steps]
        return models[0].to(device()), [model.state_dict() for model in models]
    model = new_model(network, corpus, 0, 0).to(device())
    kept = training["step"].values.tolist()
    absent = sorted(set(steps) - set(kept))
    if absent:
        raise SchemaError(
            f"no weights were kept at steps {absent}; there are {kept}: train again with these "
            "steps in the grid"
        )
    states = []
    for step in steps:
        flat = training["weights"].values[kept.index(step)].astype(np.float32)
        set_flat_weights(model, torch.from_numpy(flat).to(device()))
        states.append({name: one.clone() for name, one in model.state_dict().items()})
    return model, states


def token_tensor(corpus: xr.Dataset) -> Tensor:
    """Return the token ids (sequence, position) as torch wants them, on the job's device."""
    return torch.from_numpy(corpus["tokens"].values.astype(np.int64)).to(device())


def class_tensor(corpus: xr.Dataset) -> Tensor:
    """Return the classes of predicted tokens (sequence, predicted)."""
    return torch.from_numpy(corpus["token_class"].values.astype(np.int64)).to(device())


def held_tensors(corpus: xr.Dataset) -> Held:
    """Return the held-out sequences with the reference predictions that the corpus has."""
    held = corpus_file.held_out(corpus)
    names = ("unigram", "bigram")
    tables = {name: _log(corpus[name].values) for name in names if name in corpus}
    repeated = corpus["class"].values.tolist().index("induction")
    return Held(token_tensor(held), class_tensor(held), held.sizes["class"], repeated, **tables)


def _log(probabilities: np.ndarray) -> Tensor:
    tiny = np.finfo(np.float32).tiny
    found = np.log(np.maximum(probabilities, tiny)).astype(np.float32)
    return torch.from_numpy(found).to(device())
