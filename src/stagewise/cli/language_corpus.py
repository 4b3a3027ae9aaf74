"""Stage: the sequences of one language run, with the class of every token that is predicted."""

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.language import BigramSource, CorpusStage, DocumentsSource, TextSource
from stagewise.config.token_classes import CLASSES
from stagewise.data import bigram, text
from stagewise.data.documents import documents
from stagewise.data.token_classes import token_classes
from stagewise.provenance import provenance
from stagewise.storage import corpus as corpus_file


def language_corpus(settings: CorpusStage, out: Path) -> None:
    """Makes the training set and the held-out sequences."""
    source = settings.source
    if isinstance(source, BigramSource):
        found = _bigram(source, settings.seed)
    elif isinstance(source, TextSource):
        found = _text(source, settings.seed)
    else:
        found = _documents(source)
    record = provenance("language_corpus", settings.model_dump(mode="json"), {})
    found = found.assign_attrs(provenance=json.dumps(record, sort_keys=True))
    _say(found)
    corpus_file.write(found, out)


def _bigram(source: BigramSource, seed: int) -> xr.Dataset:
    read = text.docstrings(source.package)
    drawn = bigram.triggered_sequences(
        text.unigram(read),
        text.bigram(read),
        length=source.length,
        count=source.train + source.held,
        triggers=source.triggers,
        pool=source.pool,
        seed=seed,
    )
    # A copy as long as the sequence there is none: induction is what triggers make.
    classes, kind = token_classes(drawn.tokens, read.characters, source.length)
    triggers = drawn.tokens[:, :-1]
    for name, which in (("first pair", drawn.first), ("induction", drawn.repeated)):
        classes = np.where(which, CLASSES.index(name), classes)
        kind = np.where(which, triggers, kind)
    named = read._replace(source=f"bigram model of {read.source}, {source.triggers} triggers")
    return _characters(named, drawn.tokens, classes, kind, source.train)


def _text(source: TextSource, seed: int) -> xr.Dataset:
    read = text.docstrings(source.package)
    tokens = text.sequences(read, source.length, source.train + source.held, seed)
    return _characters(
        read, tokens, *token_classes(tokens, read.characters, source.copied), source.train
    )


def _characters(
    read: text.Text, tokens: np.ndarray, classes: np.ndarray, kind: np.ndarray, train: int
) -> xr.Dataset:
    """Return a corpus of characters with the statistics of the text that they come from."""
    return corpus_file.from_arrays(
        tokens=tokens,
        token_class=classes,
        kind=kind,
        text=read.characters,
        train_count=train,
        source=read.source,
        source_sha256=read.sha256,
        unigram=text.unigram(read),
        bigram=text.bigram(read),
    )


def _documents(source: DocumentsSource) -> xr.Dataset:
    found = documents(
        source.path,
        source.column,
        source.split,
        source.tokenizer,
        source.length,
        source.train,
        source.held,
    )
    classes, kind = token_classes(found.tokens, found.text, source.copied)
    return corpus_file.from_arrays(
        tokens=found.tokens,
        token_class=classes,
        kind=kind,
        text=found.text,
        train_count=source.train,
        source=found.source,
        source_sha256=found.sha256,
    )


def _say(corpus: xr.Dataset) -> None:
    counts = np.bincount(corpus["token_class"].values.ravel(), minlength=len(CLASSES))
    share = ", ".join(f"{n} {c / counts.sum():.3f}" for n, c in zip(CLASSES, counts, strict=True))
    sizes = (corpus.sizes["sequence"], corpus.sizes["position"], corpus.sizes["token"])
    print("{} sequences of {} tokens, vocabulary {}; ".format(*sizes) + share, flush=True)


main = stage(language_corpus)

if __name__ == "__main__":
    sys.exit(main())
