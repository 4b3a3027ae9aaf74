"""Sequences of tokens from documents: local files, or a data set of the Hugging Face hub.

Documents are tokenised one by one, joined with the tokenizer's end-of-text token between them, and
cut into sequences that don't overlap. Reading stops at the document that completes the last one.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from stagewise.errors import ConfigError

#: Kinds of local files, by suffix.
SUFFIXES = (".txt", ".jsonl", ".parquet")
#: "name" or "owner/name", as the hub allows them.
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
#: Stands for the zero byte in texts of tokens, which no string of a netCDF file may hold.
_NUL = "\N{SYMBOL FOR NULL}"


class Documents(NamedTuple):
    """Tokenised documents.

    Attributes:
        tokens: Ids, training sequences first (sequence, position).
        text: What each id of the tokenizer reads as, with its leading space.
        source: Where they are from, for people.
        sha256: Hash of the documents that were read and of their division.
    """

    tokens: Int32[np.ndarray, "sequence position"]
    text: list[str]
    source: str
    sha256: str


def documents(
    path: str,
    column: str,
    split: str,
    tokenizer: str,
    length: int,
    train: int,
    held: int,
) -> Documents:
    """Read and tokenise documents until there are ``train + held`` sequences.

    Args:
        path: A .txt (one document), .jsonl or .parquet file (one in each row), or a folder of them,
            read in the order of their sorted paths; else the name of a data set of the hub, which
            is streamed (with ``HF_HUB_OFFLINE=1`` it is read from the cache).
        column: Column, or JSON key, of the text.
        split: Of a hub's data set.
        tokenizer: Repository id or local folder, as ``transformers.AutoTokenizer`` takes it.
        length: Tokens of a sequence that a model reads; it has one more, which is predicted.
        train: The first sequences, to be trained on.
        held: Those after them, held out.

    Raises:
        ConfigError: There are fewer tokens than asked for; or files, columns, tokenizer or data set
            can't be read as described. The message names the remedy.
    """
    pieces = load_tokenizer(tokenizer)
    end = pieces.eos_token_id
    if end is None:
        raise ConfigError(
            f"tokenizer {tokenizer!r} has no end-of-text token to stand between documents; set its "
            "eos_token, or choose another"
        )
    needed = (train + held) * (length + 1)
    digest, ids = hashlib.sha256(), []
    for document in _documents(path, column, split):
        content = document.encode("utf-8", errors="surrogatepass")
        digest.update(f"{len(content)} ".encode() + content)
        ids += [end] if ids else []
        ids += pieces(document, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) >= needed:
            break
    else:
        raise ConfigError(
            f"{path} has {len(ids)} tokens, but {train} + {held} sequences of {length} + 1 tokens "
            f"need {needed}: add text, or lower train, held or length"
        )
    tokens = np.array(ids[:needed], dtype=np.int32).reshape(train + held, length + 1)
    return Documents(tokens, token_texts(pieces), f"{path}, in {tokenizer}", digest.hexdigest())


def load_tokenizer(tokenizer: str, **where: Any) -> Any:
    """Load a tokenizer from a repository id or a local folder.

    Args:
        tokenizer: Repository id or folder.
        where: ``revision``, ``cache_dir`` and the like.

    Raises:
        ConfigError: There is none.
    """
    from transformers import AutoTokenizer
    from transformers.utils import cached_file

    try:
        # Of a model without this file AutoTokenizer makes a tokenizer of special tokens alone.
        cached_file(tokenizer, "tokenizer.json", **where)
        return AutoTokenizer.from_pretrained(tokenizer, **where)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"tokenizer {tokenizer!r} can't be loaded ({first_line(error)}); give a folder that "
            f"holds tokenizer.json, or a repository id: {_OFFLINE}"
        ) from error


def token_texts(tokenizer: Any) -> list[str]:
    """Return what every id reads as, with its leading space; "" for an id that isn't in use."""
    size = max(tokenizer.get_vocab().values()) + 1
    pieces = tokenizer.convert_ids_to_tokens(list(range(size)))
    texts = [tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in range(size)]
    return [
        # Tokenizers that mark a space by "▁" drop it from what stands first.
        (" " if (piece or "").startswith("▁") and not text.startswith(" ") else "")
        + text.replace("\0", _NUL)
        for piece, text in zip(pieces, texts, strict=True)
    ]


def first_line(error: Exception) -> str:
    """Return what another library's error says, fit for a sentence of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _documents(path: str, column: str, split: str) -> Iterator[str]:
    """Yield documents in their order, empty ones left out."""
    place = Path(path)
    if place.exists():
        found = (text for file in _files(place) for text in _READERS[file.suffix](file, column))
    elif place.suffix in SUFFIXES or place.is_absolute() or not _HUB_NAME.fullmatch(path):
        raise ConfigError(
            f"{path} does not exist; give a {', '.join(SUFFIXES)} file, a folder of them, or the "
            "name of a data set of the Hugging Face hub"
        )
    else:
        found = _hub(path, column, split)
    return (text for text in found if text)


def _files(place: Path) -> list[Path]:
    files = [place] if place.is_file() else sorted(place.rglob("*"), key=lambda one: one.parts)
    files = [file for file in files if file.suffix in SUFFIXES and file.is_file()]
    if not files:
        raise ConfigError(f"{place} holds no documents; allowed are {', '.join(SUFFIXES)} files")
    return files


def _txt(file: Path, column: str) -> Iterator[str]:
    try:
        yield file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(file, error) from error


def _jsonl(file: Path, column: str) -> Iterator[str]:
    with open(file, encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _text(_row(line, f"{file}:{number}"), column, f"{file}:{number}")
        except UnicodeDecodeError as error:
            raise _not_utf8(file, error) from error


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where} is not JSON ({error}); write one object in each line") from None
    if not isinstance(row, dict):
        raise ConfigError(f"{where} is of type {type(row).__name__}; write one object in each line")
    return row


def _parquet(file: Path, column: str) -> Iterator[str]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ConfigError(f"{file} needs pyarrow: pip install pyarrow, or write .jsonl") from error
    try:
        with ParquetFile(file) as table:
            names = table.schema_arrow.names
            if column not in names:
                raise _no_column(str(file), column, names)
            for part in table.iter_batches(columns=[column], batch_size=256):
                yield from (_text(row, column, str(file)) for row in part.to_pylist())
    except ArrowException as error:
        raise ConfigError(f"{file} is no Parquet file ({first_line(error)})") from error


_READERS = dict(zip(SUFFIXES, (_txt, _jsonl, _parquet), strict=True))
_OFFLINE = (
    "with HF_HUB_OFFLINE=1 or without a network only what the hub's cache holds can be read, so "
    "download it first where there is one"
)


def _hub(name: str, column: str, split: str) -> Iterator[str]:
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise ConfigError(
            f"{name} is no local file, and data sets of the hub need the datasets package: "
            "pip install datasets"
        ) from error
    # Only a stream can be left after the first rows; only a whole data set lies in the cache.
    streaming = not datasets.config.HF_HUB_OFFLINE
    try:
        for row in datasets.load_dataset(name, split=split, streaming=streaming):
            yield _text(row, column, name)
    except (OSError, ValueError, DatasetsError) as error:
        raise ConfigError(
            f"data set {name!r}, split {split!r}, can't be read ({first_line(error)}): is there a "
            f"local file or a data set of that name? {_OFFLINE}"
        ) from error


def _text(row: dict[str, Any], column: str, where: str) -> str:
    if column not in row:
        raise _no_column(where, column, list(row))
    if not isinstance(text := row[column], str):
        raise ConfigError(
            f"{where}: {column!r} is of type {type(text).__name__}; set column to one of text"
        )
    return text


def _no_column(where: str, column: str, names: list[str]) -> ConfigError:
    return ConfigError(f"{where} has no {column!r}; set column to one of {names}")


def _not_utf8(file: Path, error: UnicodeDecodeError) -> ConfigError:
    return ConfigError(f"{file} is not UTF-8 ({error}); convert it, with iconv for example")
