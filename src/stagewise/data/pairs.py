"""A user's data as tensors: inputs and targets, on the model's device, with ids and hashes."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stagewise.errors import ConfigError

#: (inputs, targets), inputs a tensor or a mapping of them; or a dataset of such pairs.
Data = tuple[Any, Any] | Sized
Inputs = Tensor | dict[str, Tensor]


def tensors(data: Data, name: str, device: torch.device) -> tuple[Inputs, Tensor]:
    """Return inputs and targets on a device.

    Args:
        data: (inputs, targets), first dimension the sample, inputs a tensor or a mapping of tensors
            by name; or a dataset with a length whose items are pairs (input, target).
        name: What the data are called in messages.
        device: Where they are needed.

    Raises:
        ConfigError: They are neither.
    """
    if not isinstance(data, tuple | list) or len(data) != 2 or isinstance(data[0], tuple):
        data = _columns(data, name)
    inputs, targets = data
    if isinstance(inputs, Mapping):
        moved = {key: torch.as_tensor(one).to(device) for key, one in inputs.items()}
        return moved, torch.as_tensor(targets).to(device)
    return torch.as_tensor(inputs).to(device), torch.as_tensor(targets).to(device)


def _columns(data: Any, name: str) -> list[Tensor]:
    try:
        columns = zip(*(data[index] for index in range(len(data))), strict=True)
        inputs, targets = (torch.stack([torch.as_tensor(x) for x in column]) for column in columns)
    except (TypeError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ConfigError(
            f"{name} is {type(data).__name__}; pass (inputs, targets), or a dataset with a "
            "length whose items are such pairs of equal shapes"
        ) from error
    return [inputs, targets]


def parts(inputs: Inputs | Mapping[str, Tensor]) -> list[Tensor]:
    """Return the tensors of the inputs, by name where they have names."""
    if isinstance(inputs, Mapping):
        return [inputs[key] for key in sorted(inputs)]
    return [inputs]


def permanent_ids(ids: Sequence[str] | None, count: int, name: str) -> list[str]:
    """Return an id for every sample: those given, or numbers.

    Raises:
        ConfigError: They are not as many, or not distinct.
    """
    found = [str(one) for one in (range(count) if ids is None else ids)]
    if len(found) != count or len(set(found)) != count:
        raise ConfigError(
            f"{name} has {len(found)} ids, {len(set(found))} distinct, for {count} samples; "
            "give each its own"
        )
    return found


def token_ids(sequences: Sequence[str], tokens: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return ids "sequence:position", and the two apart, of tokens in flat order."""
    positions = np.tile(np.arange(tokens), len(sequences))
    names = np.repeat(np.array(sequences, dtype=object), tokens)
    ids = [f"{name}:{place}" for name, place in zip(names, positions, strict=True)]
    return ids, names, positions


def content_hash(arrays: Iterable[Tensor]) -> str:
    """Return the SHA-256 of tensors' types, shapes and contents."""
    digest = hashlib.sha256()
    for tensor in arrays:
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
