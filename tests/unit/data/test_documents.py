"""Documents: joined, cut and ordered as said, from every kind of file; what is wrong is named.

Caught: a lost or doubled end-of-text token, files in the order of the disk, sequences that overlap,
texts of tokens without their leading space, a remedy that doesn't help.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stagewise.data.documents import Documents, documents, load_tokenizer
from stagewise.data.token_classes import token_classes
from stagewise.errors import ConfigError
from stagewise.storage import corpus
from support.neox_files import DOCUMENTS, neox, save_tokenizer

LENGTH, TRAIN, HELD = 7, 3, 2


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return str(folder)


def read(path: Path | str, tokenizer: str, **changes: Any) -> Documents:
    settings = {"column": "text", "split": "train", "length": LENGTH, "train": TRAIN, "held": HELD}
    return documents(str(path), tokenizer=tokenizer, **{**settings, **changes})


def write_lines(path: Path, column: str = "text") -> Path:
    lines = [json.dumps({"id": place, column: text}) for place, text in enumerate(DOCUMENTS)]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def all_tokens(tokenizer: str) -> list[int]:
    pieces = load_tokenizer(tokenizer)
    first, *others = (pieces(text)["input_ids"] for text in DOCUMENTS)
    return [*first, *(token for other in others for token in [pieces.eos_token_id, *other])]


def test_documents_are_joined_and_cut(tokenizer: str, tmp_path: Path) -> None:
    wanted = all_tokens(tokenizer)
    count = len(wanted) // (LENGTH + 1)
    found = read(write_lines(tmp_path / "some.jsonl"), tokenizer, train=count - 2)
    assert found.tokens.shape == (count, LENGTH + 1)
    assert found.tokens.ravel().tolist() == wanted[: found.tokens.size]
    assert wanted.count(0) == len(DOCUMENTS) - 1


def test_every_kind_of_file_gives_the_same(tokenizer: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    for name, text in reversed(list(zip(("a.txt", "b/1.txt", "b/2.txt"), DOCUMENTS, strict=True))):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "a.md").write_text("not read")
    table = tmp_path / "some.parquet"
    pd.DataFrame({"id": range(3), "body": DOCUMENTS}).to_parquet(table)
    ways = [
        read(folder, tokenizer),
        read(write_lines(tmp_path / "some.jsonl"), tokenizer),
        read(write_lines(tmp_path / "other.jsonl", "body"), tokenizer, column="body"),
        read(table, tokenizer, column="body"),
    ]
    for one in ways:
        np.testing.assert_array_equal(one.tokens, ways[0].tokens)
        assert one.sha256 == ways[0].sha256
    assert "some.parquet" in ways[3].source


def test_reading_stops_where_there_is_enough(tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(DOCUMENTS[0])
    (tmp_path / "b.jsonl").write_text("broken")
    assert len(read(tmp_path, tokenizer, train=1, held=1).tokens) == 2
    with pytest.raises(ConfigError, match=r"b\.jsonl:1 is not JSON"):
        read(tmp_path, tokenizer, train=100)


def test_texts_of_tokens_spell_the_document(tokenizer: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(DOCUMENTS[0])
    found = read(tmp_path, tokenizer, train=1, held=1)
    spelt = "".join(found.text[token] for token in found.tokens.ravel())
    assert DOCUMENTS[0].startswith(spelt)
    assert " the" in found.text
    assert "<|endoftext|>" in found.text


def test_a_corpus_file_holds_them_zero_bytes_included(tokenizer: str, tmp_path: Path) -> None:
    """Catches texts that netCDF cannot hold: the piece of byte 0 is in every byte-level model."""
    found = read(write_lines(tmp_path / "some.jsonl"), tokenizer)
    classes, kind = token_classes(found.tokens, found.text, 2)
    made = corpus.from_arrays(
        tokens=found.tokens,
        token_class=classes,
        kind=kind,
        text=found.text,
        train_count=TRAIN,
        source=found.source,
        source_sha256=found.sha256,
    )
    corpus.write(made, tmp_path / "corpus.nc")
    assert corpus.read(tmp_path / "corpus.nc")["text"].values.tolist() == found.text


def test_the_hash_is_of_the_documents_and_their_division(tokenizer: str, tmp_path: Path) -> None:
    hashes = set()
    for name, rows in {"a": ["ab", "c" * 99], "b": ["a", "b" + "c" * 99]}.items():
        lines = "\n".join(json.dumps({"text": row}) for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines)
        hashes.add(read(tmp_path / f"{name}.jsonl", tokenizer, train=1, held=1).sha256)
    assert len(hashes) == 2


def test_too_little_text_is_counted(tokenizer: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "some.jsonl")
    have, need = len(all_tokens(tokenizer)), (200 + HELD) * (LENGTH + 1)
    with pytest.raises(ConfigError, match=rf"{have} tokens, but 200 \+ 2 .* \+ 1 .* need {need}"):
        read(path, tokenizer, train=200)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"id": 1, "body": ""}', r"a\.jsonl:1 has no 'text'.*\['id', 'body'\]"),
        ("a.jsonl", b'\n{"text": 3}', r"a\.jsonl:2: 'text' is of type int"),
        ("a.jsonl", b"[1]", r"a\.jsonl:1 is of type list; write one object"),
        ("a.jsonl", b'{"text": "\xff"}', "is not UTF-8"),
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.parquet", b"nothing", "is no Parquet file"),
        ("a.csv", b"text", r"holds no documents; allowed are \.txt, \.jsonl, \.parquet"),
        ("a.txt", b"", "has 0 tokens"),
    ],
)
def test_broken_files_are_named(
    tokenizer: str, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / name, tokenizer)


def test_a_column_that_a_table_lacks_is_named(tokenizer: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"body": DOCUMENTS}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"has no 'text'; set column to one of \['body'\]"):
        read(tmp_path, tokenizer)


@pytest.mark.parametrize("path", ["nowhere.jsonl", "/no/such/folder", "a/b/c", "no where"])
def test_what_is_neither_file_nor_name_is_refused(tokenizer: str, path: str) -> None:
    with pytest.raises(ConfigError, match="does not exist; give a .txt"):
        read(path, tokenizer)


def test_a_tokenizer_needs_files_and_an_end_of_text(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "some.jsonl")
    neox(0).save_pretrained(tmp_path / "model")
    for folder in (tmp_path, tmp_path / "model", tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match=r"can't be loaded .* holds tokenizer\.json"):
            read(path, str(folder))
    save_tokenizer(tmp_path / "endless", end=None)
    with pytest.raises(ConfigError, match="has no end-of-text token"):
        read(path, str(tmp_path / "endless"))


@pytest.mark.parametrize("offline", [False, True])
def test_a_data_set_of_the_hub_is_streamed_or_cached(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load_dataset(*args: Any, **kwargs: Any) -> list[dict[str, str]]:
        asked.append((args, kwargs))
        return [{"body": text} for text in DOCUMENTS]

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = read("some/name", tokenizer, column="body", split="test")
    local = read(write_lines(tmp_path / "some.jsonl"), tokenizer)
    np.testing.assert_array_equal(found.tokens, local.tokens)
    assert asked == [(("some/name",), {"split": "test", "streaming": not offline})]
    with pytest.raises(ConfigError, match=r"some/name has no 'text'; .*\['body'\]"):
        read("some/name", tokenizer)


def test_a_data_set_that_cannot_be_had_is_named(
    tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real loader, without a network; then no loader."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"'no/such', split 'train', .*HF_HUB_OFFLINE=1"):
        read("no/such", tokenizer)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match="pip install datasets"):
        read("no/such", tokenizer)


def test_without_pyarrow_the_remedy_is_named(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pip install pyarrow, or write .jsonl"):
        read(tmp_path, tokenizer)


def test_pieces_that_mark_a_space_keep_it(tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SentencePiece's ▁: decoding one piece alone drops the space that starts a word."""
    from stagewise.data.documents import token_texts

    class Marked:
        pieces = ("▁the", "cat", "▁", None)
        get_vocab: Callable[..., dict[str, int]] = lambda self: {"▁the": 0, "cat": 1, "x": 3}

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
            return [self.pieces[token] for token in ids]

        def decode(self, ids: list[int], **_: Any) -> str:
            return (self.pieces[ids[0]] or "").replace("▁", "")

    assert token_texts(Marked()) == [" the", "cat", " ", ""]
