"""Public checkpoints: the real loading code on a tiny model, laid out as public ones are, offline.

Caught: weights of another step, half precision kept, weights that a file lacks left at random, half
a download taken for a checkpoint, ids that mean something else to the model.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi
from transformers import GPT2Config, GPT2LMHeadModel

from stagewise.config.base import parse
from stagewise.config.language import RunSettings
from stagewise.data.documents import load_tokenizer, token_texts
from stagewise.errors import ConfigError
from stagewise.models.pretrained import check_revisions, check_vocabulary, load_pretrained
from support.neox_files import neox, save_in_cache, save_tokenizer
from support.repository import ROOT

STEPS = (0, 8, 1000)
NAME = "someone/tiny-neox"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three revisions as local folders."""
    root = tmp_path / "tiny"
    for step in STEPS:
        neox(step).save_pretrained(root / f"step{step}")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The same in the hub's cache."""
    save_in_cache(tmp_path / "cache", NAME, {f"step{step}": neox(step) for step in STEPS})
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def assert_same(found: torch.nn.Module, wanted: torch.nn.Module) -> None:
    wanted_state = wanted.state_dict()
    assert set(found.state_dict()) == set(wanted_state)
    for name, value in found.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, wanted_state[name].float(), rtol=0, atol=0)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_its_own_weights(folder: Path, cache: Path, step: int) -> None:
    for found in (
        load_pretrained(str(folder), step, None),
        load_pretrained(NAME, step, str(cache)),
    ):
        assert_same(found, neox(step))
        assert not found.training
        assert not found.config.use_cache
        assert found.config._attn_implementation == "eager"


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    half = neox(1).half()
    half.save_pretrained(tmp_path / "step1")
    assert json.loads((tmp_path / "step1/config.json").read_text())["dtype"] == "float16"
    assert_same(load_pretrained(str(tmp_path), 1, None), half)


def test_it_works_offline_in_a_process_of_its_own(cache: Path) -> None:
    """With the variable set from outside, as on a cluster's node."""
    program = (
        "from stagewise.models.pretrained import *\n"
        f"check_revisions({NAME!r}, {STEPS}, {str(cache)!r})\n"
        f"check_vocabulary({NAME!r}, 8, ['a'] * 320, {str(cache)!r})\n"
        f"print(load_pretrained({NAME!r}, 8, {str(cache)!r}).config.vocab_size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["320"]


def test_missing_revisions_are_named_and_so_are_those_there(folder: Path, cache: Path) -> None:
    for model, where in ((str(folder), None), (NAME, str(cache))):
        check_revisions(model, STEPS, where)
        with pytest.raises(ConfigError, match=r"steps \[1, 7\]; there are \[0, 8, 1000\]"):
            check_revisions(model, [7, 8, 1], where)
        with pytest.raises(ConfigError, match="no readable checkpoint of step 7"):
            load_pretrained(model, 7, where)
    with pytest.raises(ConfigError, match=r"hf download .* --revision step\{N\} --cache-dir"):
        check_revisions(NAME, [7], str(cache))


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_half_a_checkpoint_is_none(folder: Path, cache: Path, lost: str) -> None:
    (folder / "step8" / lost).unlink()
    (cache / "models--someone--tiny-neox/snapshots" / f"{1:040x}" / lost).unlink()
    for model, where in ((str(folder), None), (NAME, str(cache))):
        with pytest.raises(ConfigError, match=r"steps \[8\]; there are \[0, 1000\]"):
            check_revisions(model, STEPS, where)


def test_divided_weights_must_all_be_there(tmp_path: Path) -> None:
    neox(3).save_pretrained(tmp_path / "step3", max_shard_size="15KB")
    parts = sorted((tmp_path / "step3").glob("model-*.safetensors"))
    assert len(parts) > 1
    check_revisions(str(tmp_path), [3], None)
    assert_same(load_pretrained(str(tmp_path), 3, None), neox(3))
    parts[-1].unlink()
    with pytest.raises(ConfigError, match=r"steps \[3\]; there are none"):
        check_revisions(str(tmp_path), [3], None)


def test_names_of_revisions_come_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    names = ["main", "step0", "step512", "step1000-old"]
    refs = SimpleNamespace(branches=[SimpleNamespace(name=name) for name in names], tags=[])
    monkeypatch.setattr(HfApi, "list_repo_refs", lambda self, name: refs)
    check_revisions(NAME, [0, 512], None)
    with pytest.raises(ConfigError, match=r"steps \[1000\]; there are \[0, 512\]"):
        check_revisions(NAME, [0, 1000], None)


def test_where_the_hub_cannot_be_reached_the_cache_counts(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "list_repo_refs", unreachable)
    check_revisions(NAME, STEPS, str(cache))
    with pytest.raises(ConfigError, match=r"\[2\].*\[0, 8, 1000\].*no route to host"):
        check_revisions(NAME, [2], str(cache))


@pytest.mark.parametrize("is_offline", [True, False])
def test_what_is_neither_folder_nor_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, is_offline: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", is_offline)
    with pytest.raises(ConfigError, match="no local folder and no repository id"):
        check_revisions("models/of/mine", [1], None)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9, n_positions=4)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "step1")
    with pytest.raises(ConfigError, match="type 'gpt2'; allowed is 'gpt_neox'"):
        load_pretrained(str(tmp_path), 1, None)


def test_weights_that_a_file_lacks_are_not_left_at_random(tmp_path: Path) -> None:
    """A headless model is a valid file of another class; a truncated one is none at all."""
    neox(1).gpt_neox.save_pretrained(tmp_path / "step1")
    with pytest.raises(ConfigError, match=r"step 1 lacks '.*weight' and 0 more"):
        load_pretrained(str(tmp_path), 1, None)
    weights = tmp_path / "step1/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ConfigError, match="can't be loaded .* download or save it again"):
        load_pretrained(str(tmp_path), 1, None)


def test_more_ids_than_the_model_has_are_refused(folder: Path) -> None:
    check_vocabulary(str(folder), 8, ["a"] * 320, None)
    with pytest.raises(ConfigError, match="ids up to 320, .* only up to 319"):
        check_vocabulary(str(folder), 8, ["a"] * 321, None)


@pytest.mark.parametrize("place", ["", "step8"])
def test_the_checkpoints_own_tokenizer_must_read_the_same(folder: Path, place: str) -> None:
    save_tokenizer(folder / place)
    texts = token_texts(load_tokenizer(str(folder / place)))
    check_vocabulary(str(folder), 8, texts, None)
    check_vocabulary(str(folder), 8, [*texts, "<|padding|>"], None)
    texts[40] = "else"
    with pytest.raises(ConfigError, match="token 40 is 'else' to the text's tokenizer and '.'"):
        check_vocabulary(str(folder), 8, texts, None)


def test_of_a_repository_too(cache: Path) -> None:
    root = cache / "models--someone--tiny-neox/snapshots" / f"{1:040x}"
    save_tokenizer(root)
    texts = token_texts(load_tokenizer(str(root)))
    check_vocabulary(NAME, 8, texts, str(cache))
    with pytest.raises(ConfigError, match="token 1 is 'else'"):
        check_vocabulary(NAME, 8, [texts[0], "else"], str(cache))


def test_the_settings_of_the_page_are_those_of_the_paper_config() -> None:
    page = (ROOT / "docs/pretrained.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    paper = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    assert yaml.safe_load(example)["pythia_14m"] == paper["language"]["runs"]["pythia_14m"]
    run = parse(RunSettings, yaml.safe_load(example)["pythia_14m"])
    assert run.network.kind == "pretrained"
    published = {0, *(2**k for k in range(10)), *range(1000, 143_001, 1000)}
    assert set(run.all_steps()) <= published
