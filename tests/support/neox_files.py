"""A tiny GPT-NeoX model and its tokenizer as files, laid out as public ones are; no network."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

END = "<|endoftext|>"
DOCUMENTS = [
    'The cat (a "big" one) sat on the mat, and the cat sat on the mat again.\n\n',
    "Numbers: 12, 345 and 6789. It isn't over; the un-believable cat sat [still].",
    "Ünïcödé \0 and a tab\there: the end of the cat, the end of the mat.",
]


def save_tokenizer(folder: Path, texts: Iterable[str] = DOCUMENTS, end: str | None = END) -> int:
    """Trains byte-level pieces, as Pythia's are, and saves them; returns the number of ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def neox(seed: int, **changes: Any) -> GPTNeoXForCausalLM:
    """A model with weights of its own for each seed."""
    settings = {
        "vocab_size": 320,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    torch.manual_seed(seed)
    return GPTNeoXForCausalLM(GPTNeoXConfig(**{**settings, **changes}))


def save_in_cache(cache: Path, name: str, revisions: dict[str, GPTNeoXForCausalLM]) -> None:
    """Lays revisions out as the hub's cache does after they were downloaded."""
    root = cache / f"models--{name.replace('/', '--')}"
    for number, (revision, model) in enumerate(revisions.items()):
        commit = f"{number:040x}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / revision).write_text(commit)
        model.save_pretrained(root / "snapshots" / commit)
