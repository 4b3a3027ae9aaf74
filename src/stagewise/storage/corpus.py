"""Token sequences with the class and the kind of every token that is predicted.

The first ``train_count`` sequences are the training set, the others are held out. A sequence of
length L + 1 makes L predictions: place t of ``token_class`` belongs to token t + 1, predicted from
tokens 0 to t. ``kind`` divides a class further: the trigger of an induction token, the kind of
bracket of a delimiter, the token itself elsewhere.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int

from stagewise.config.token_classes import CLASSES
from stagewise.errors import SchemaError
from stagewise.storage import netcdf
from stagewise.storage.schema import Schema

CORPUS = Schema(
    name="stagewise.corpus",
    version=1,
    variables={
        "tokens": (("sequence", "position"), "i"),
        "token_class": (("sequence", "predicted"), "i"),
        "kind": (("sequence", "predicted"), "i"),
    },
    #: Next-token probabilities that the sequences were drawn from, or counted in the training set.
    optional={
        "unigram": (("token",), "f"),
        "bigram": (("token", "next_token"), "f"),
    },
    coords={
        "sequence": (("sequence",), "U"),
        "class": (("class",), "U"),
        "text": (("token",), "U"),
    },
    attrs=("train_count", "source", "source_sha256"),
)


def from_arrays(
    *,
    tokens: Int[np.ndarray, "sequence position"],
    token_class: Int[np.ndarray, "sequence predicted"],
    kind: Int[np.ndarray, "sequence predicted"],
    text: Sequence[str],
    train_count: int,
    source: str,
    source_sha256: str,
    unigram: np.ndarray | None = None,
    bigram: np.ndarray | None = None,
) -> xr.Dataset:
    """Make a corpus.

    Args:
        tokens: Ids, training sequences first.
        token_class: Index into ``CLASSES`` of each predicted token.
        kind: Any integer; equal ones within a class are of one kind.
        text: What each token id reads as.
        train_count: Sequences of the training set.
        source: Where the text is from, for people.
        source_sha256: Hash of the text.
        unigram: (token,) probabilities.
        bigram: (token, next token) probabilities.

    Raises:
        SchemaError: Shapes disagree or an id is out of range.
    """
    names = [
        f"train{i:06d}" if i < train_count else f"held{i - train_count:06d}"
        for i in range(len(tokens))
    ]
    data: dict[str, Any] = {
        "tokens": (("sequence", "position"), np.asarray(tokens, np.int32)),
        "token_class": (("sequence", "predicted"), np.asarray(token_class, np.int8)),
        "kind": (("sequence", "predicted"), np.asarray(kind, np.int32)),
    }
    if unigram is not None:
        data["unigram"] = (("token",), np.asarray(unigram, np.float64))
    if bigram is not None:
        data["bigram"] = (("token", "next_token"), np.asarray(bigram, np.float64))
    coords = {
        "sequence": np.array(names, dtype=object),
        "class": np.array(CLASSES, dtype=object),
        "text": (("token",), np.array(list(text), dtype=object)),
    }
    attrs = {
        "train_count": train_count,
        "source": source,
        "source_sha256": source_sha256,
        "schema": CORPUS.name,
        "schema_version": CORPUS.version,
    }
    try:
        corpus = xr.Dataset(data, coords=coords, attrs=attrs)
    except ValueError as error:
        raise SchemaError(f"corpus: shapes disagree ({error})") from error
    validate(corpus)
    return corpus


def validate(corpus: xr.Dataset, source: str = "corpus") -> None:
    """Check a corpus.

    Raises:
        SchemaError: The message names what is wrong and the remedy.
    """
    CORPUS.validate(corpus, source)
    tokens, classes = corpus["tokens"].values, corpus["token_class"].values
    if classes.shape[1] != tokens.shape[1] - 1:
        raise SchemaError(
            f"{source}: {tokens.shape[1]} tokens make {tokens.shape[1] - 1} predictions, not "
            f"{classes.shape[1]}; make the corpus again"
        )
    for name, values, count in (
        ("tokens", tokens, corpus.sizes["token"]),
        ("token_class", classes, corpus.sizes["class"]),
    ):
        if values.min() < 0 or values.max() >= count:
            raise SchemaError(
                f"{source}: {name} reach from {values.min()} to {values.max()}; allowed are 0 to "
                f"{count - 1}: make the corpus again with the tokenizer of the model"
            )
    if not 0 < int(corpus.attrs["train_count"]) <= len(tokens):
        raise SchemaError(
            f"{source}: train_count is {corpus.attrs['train_count']} of {len(tokens)} sequences"
        )


def training_set(corpus: xr.Dataset) -> xr.Dataset:
    """Return the sequences that are trained on."""
    return corpus.isel(sequence=slice(0, int(corpus.attrs["train_count"])))


def held_out(corpus: xr.Dataset) -> xr.Dataset:
    """Return the sequences that are not."""
    return corpus.isel(sequence=slice(int(corpus.attrs["train_count"]), None))


def write(corpus: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Check a corpus and write it atomically.

    Raises:
        SchemaError: It is not valid.
    """
    validate(corpus)
    netcdf.write(corpus, path)


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a corpus into memory and check it.

    Raises:
        SchemaError: The file is missing, truncated, of another version, or no corpus.
    """
    corpus = netcdf.read(path)
    validate(corpus, str(path))
    return corpus
