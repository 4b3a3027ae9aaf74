"""Public checkpoints of GPT-NeoX models, such as Pythia's (Biderman et al. 2023, arXiv:2304.01373).

A model is a repository of the Hugging Face hub whose revisions are called step{N}, or a local
folder with a subfolder step{N} for each, as ``save_pretrained`` writes it. What is wrong with them
is said before anything is computed.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled
from safetensors import SafetensorError
from transformers import AutoConfig, GPTNeoXConfig, GPTNeoXForCausalLM

from stagewise.data.documents import first_line, load_tokenizer, token_texts
from stagewise.errors import ConfigError

_STEP = re.compile(r"step(\d+)")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def load_pretrained(model: str, step: int, cache: str | None) -> GPTNeoXForCausalLM:
    """Load one checkpoint, in eval mode and float32.

    Published weights are often float16, in which small steps of a chain are rounded away; the
    numbers of a float16 file are the same in float32.

    Args:
        model: Repository id, or local folder with a subfolder step{N} for each checkpoint.
        step: Optimiser step N of the checkpoint.
        cache: Folder of the hub's cache; None is the hub's own choice.

    Raises:
        ConfigError: There is no such checkpoint, it is none of a GPT-NeoX model, or its file lacks
            some of the weights.
    """
    config = _config(model, step, cache)
    config.use_cache = False  # nothing is generated: keys and values would be kept in vain
    place, where = _place(model, step, cache)
    try:
        network, report = GPTNeoXForCausalLM.from_pretrained(
            place,
            **where,
            config=config,
            dtype=torch.float32,
            # vmap batches it over chains, and patterns of attention can be looked at.
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ConfigError(
            f"weights of {model} at step {step} can't be loaded ({first_line(error)}); delete "
            "that checkpoint's files and download or save it again"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(
            f"{model} at step {step} lacks {missing[0]!r} and {len(missing) - 1} more of its "
            "weights, which would be random: save it with GPTNeoXForCausalLM.save_pretrained"
        )
    return network.eval()


def check_revisions(model: str, steps: Sequence[int], cache: str | None) -> None:
    """Check that all checkpoints are there, without loading or downloading weights.

    Of a local folder, and with ``HF_HUB_OFFLINE=1`` or without a network of the hub's cache, the
    files of every step must be whole: config.json and all weights. Else the hub is asked for the
    names of the model's revisions.

    Raises:
        ConfigError: Some are missing; the message names these, those that there are, and the
            remedy.
    """
    if Path(model).is_dir():
        present = present_steps(model, steps, cache)
        remedy = "a step needs a subfolder step{N} with config.json and all weights"
    else:
        present, remedy = _on_the_hub(model, steps, cache)
    if missing := sorted(set(steps) - present):
        raise ConfigError(
            f"{model} has no checkpoints of the steps {missing}; there are "
            f"{sorted(present) or 'none'}: choose among these ({remedy})"
        )


def present_steps(model: str, steps: Sequence[int], cache: str | None) -> set[int]:
    """Return the steps whose files lie whole in a local folder or in the hub's cache.

    The hub is not asked. Steps that are there and not asked for may be among them.

    Args:
        model: Repository id, or local folder with a subfolder step{N} for each checkpoint.
        steps: Those that are looked for.
        cache: Folder of the hub's cache; None is the hub's own choice.

    Raises:
        ConfigError: The name is neither a folder nor a repository id.
    """
    folder = Path(model)
    if folder.is_dir():
        return {step for step, place in _numbered(folder).items() if _whole(place)}
    return _cached(model, steps, cache)


def check_vocabulary(model: str, step: int, text: Sequence[str], cache: str | None) -> None:
    """Check that tokens mean to the model what they mean in the text.

    Args:
        model: Repository id or local folder.
        step: A checkpoint of it.
        text: What each token id of the text reads as (``Documents.text``).
        cache: Folder of the hub's cache; None is the hub's own choice.

    Raises:
        ConfigError: There are more ids than the model has, or the tokenizer that lies with the
            checkpoint, if one does, reads an id otherwise.
    """
    size = _config(model, step, cache).vocab_size
    if len(text) > size:
        raise ConfigError(
            f"the text's tokenizer has ids up to {len(text) - 1}, {model} only up to {size - 1}: "
            "set tokenizer to the one that the model was trained with"
        )
    own = _own_texts(model, step, cache)
    for token, (theirs, ours) in enumerate(zip(own, text, strict=False)):
        if theirs != ours:
            raise ConfigError(
                f"token {token} is {ours!r} to the text's tokenizer and {theirs!r} to that of "
                f"{model}: set tokenizer to the one that the model was trained with"
            )


def _config(model: str, step: int, cache: str | None) -> GPTNeoXConfig:
    place, where = _place(model, step, cache)
    try:
        config = AutoConfig.from_pretrained(place, **where)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{model} has no readable checkpoint of step {step} ({first_line(error)}); give a "
            "repository id whose revisions are called step{N}, or a folder with a subfolder "
            "step{N} that holds config.json"
        ) from error
    if not isinstance(config, GPTNeoXConfig):
        raise ConfigError(
            f"{model} is a model of type {config.model_type!r}; allowed is 'gpt_neox'"
        )
    return config


def _place(model: str, step: int, cache: str | None) -> tuple[str, dict[str, str | None]]:
    """Return what ``from_pretrained`` is called with."""
    if Path(model).is_dir():
        return str(Path(model, f"step{step}")), {}
    return model, {"revision": f"step{step}", "cache_dir": cache}


def _numbered(folder: Path) -> dict[int, Path]:
    """Return what is called step{N} in a folder, by N."""
    matches = ((_STEP.fullmatch(place.name), place) for place in folder.glob("step*"))
    return {int(match[1]): place for match, place in matches if match}


def _whole(folder: Path) -> bool:
    """Say whether a checkpoint's files are complete, those of divided weights included."""
    if not (folder / "config.json").is_file():
        return False
    for name in _WEIGHTS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return True
        if index.is_file():
            parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            return all((folder / part).is_file() for part in parts)
    return False


def _on_the_hub(model: str, steps: Sequence[int], cache: str | None) -> tuple[set[int], str]:
    """Return the steps that can be had, and what to do about others."""
    if not constants.is_offline_mode():
        try:
            refs = HfApi().list_repo_refs(model)
        except HFValidationError as error:
            raise ConfigError(f"{model} is no local folder and no repository id: {error}") from None
        except (HTTPError, OfflineModeIsEnabled, OSError) as error:
            why = f"the hub lists no revisions: {first_line(error)}"
        else:
            names = (_STEP.fullmatch(ref.name) for ref in [*refs.branches, *refs.tags])
            return {int(match[1]) for match in names if match}, "revisions are called step{N}"
    else:
        why = "HF_HUB_OFFLINE is set"
    return _cached(model, steps, cache), (
        f"{why}, so only whole checkpoints of the cache count: download others where there is a "
        f"network with hf download {model} --revision step{{N}}"
        + ("" if cache is None else f" --cache-dir {cache}")
    )


def _cached(model: str, steps: Sequence[int], cache: str | None) -> set[int]:
    """Return the steps, those asked for and others, whose files lie whole in the hub's cache."""
    root = Path(cache or constants.HF_HUB_CACHE, f"models--{model.replace('/', '--')}")
    present = set()
    for step in {*steps, *_numbered(root / "refs")}:
        try:
            config = try_to_load_from_cache(model, "config.json", cache, f"step{step}")
        except HFValidationError as error:
            raise ConfigError(f"{model} is no local folder and no repository id: {error}") from None
        if isinstance(config, str) and _whole(Path(config).parent):
            present.add(step)
    return present


def _own_texts(model: str, step: int, cache: str | None) -> list[str]:
    """Return what the checkpoint's own tokenizer reads; nothing where none can be had."""
    place, where = _place(model, step, cache)
    if not where:
        folders = [folder for folder in (Path(place), Path(model)) if _has_tokenizer(folder)]
        return token_texts(load_tokenizer(str(folders[0]))) if folders else []
    try:
        return token_texts(load_tokenizer(place, **where))
    except ConfigError:
        return []  # the repository has none, or none that is in the cache


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file()
