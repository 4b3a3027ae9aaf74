"""Documents of a retrained language model, and the weights that its trainings start from."""

import numpy as np
import torch
from torch import Tensor, nn

from stagewise.config.retraining import ProblemStage
from stagewise.config.retraining_data import NeoxNetwork
from stagewise.data import short_documents
from stagewise.data.documents import documents
from stagewise.data.labelled import Labelled, split
from stagewise.models.neox import build, flat_weights
from stagewise.models.pretrained import check_vocabulary, load_pretrained
from stagewise.sampling.progress import bar
from stagewise.seeds import seed_sequence
from stagewise.training.language import Recipe, Trainer


def read_documents(settings: ProblemStage) -> tuple[Labelled, Labelled, int]:
    """Return training documents and queries as tokens, and the number of tokens that there are."""
    chosen, source = settings.problem, settings.problem.source
    if source.kind == "docstrings":
        found = short_documents.beginnings(source.package, source.length)
        labels = np.zeros(len(found), np.int64)
        parts = split("document", found, labels, settings.seed, chosen.train, chosen.queries)
        return *parts, len(short_documents.ALPHABET)
    read = documents(
        source.path,
        source.column,
        source.split,
        source.tokenizer,
        source.length,
        chosen.train,
        chosen.queries,
    )
    network = chosen.network
    check_vocabulary(network.model, network.step, read.text, network.cache)
    tokens = read.tokens.astype(np.int64)
    ids = [f"document{place:04d}" for place in range(len(tokens))]
    parts = (slice(None, chosen.train), slice(chosen.train, None))
    train, asked = (
        Labelled(tokens[part], np.zeros(len(tokens[part]), np.int64), ids[part]) for part in parts
    )
    return train, asked, len(read.text)


def new_model(settings: ProblemStage, vocabulary: int) -> nn.Module:
    """Return the network with weights that nobody trained."""
    network, length = settings.problem.network, settings.problem.source.length
    if network.kind == "pretrained":
        return load_pretrained(network.model, network.step, network.cache)
    return build(
        vocabulary,
        max(length, 8),
        layers=network.layers,
        width=network.width,
        heads=network.heads,
        expansion=network.expansion,
        rotary=network.rotary,
        parallel_residual=network.parallel_residual,
        init_scale=network.init_scale,
        seed=int(seed_sequence(settings.seed, *_names(settings), "init").generate_state(1)[0]),
    )


def pretrained_weights(settings: ProblemStage, vocabulary: int, device: torch.device) -> Tensor:
    """Return the weights that every training starts from: trained here, or public ones."""
    model = new_model(settings, vocabulary).to(device)
    network = settings.problem.network
    if isinstance(network, NeoxNetwork):
        _pretrain(model, network, settings, device)
    return flat_weights(model)


def _pretrain(
    model: nn.Module, network: NeoxNetwork, settings: ProblemStage, device: torch.device
) -> None:
    source, chosen = settings.problem.source, network.pretraining
    text = short_documents.pieces(source.pretraining, source.length)
    tokens = torch.from_numpy(text).to(device)
    recipe = Recipe(chosen.batch_size, chosen.learning_rate, chosen.warmup, chosen.weight_decay)
    stream = (settings.seed, f"retraining/{settings.name}/pretraining", 0)
    trainer = Trainer(model, tokens, torch.zeros_like(tokens[:, 1:]), recipe, stream)
    shown, loss = bar("pretrain"), float("nan")
    while trainer.step < chosen.steps:
        loss = trainer.advance()
        shown(trainer.step, chosen.steps)
    print(f"pretrained to a loss of {loss:.3f} nats per token", flush=True)


def _names(settings: ProblemStage) -> tuple[str, str]:
    return "retraining", settings.name
