"""How fast a GPU is: what its jobs would reach, from the record of ``bench/gpu.py``.

The record has the seconds of a chain's step by the size of the language model, at batches of few
and short sequences: jobs with larger ones reach more.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stagewise.cli.plan_jobs import Job
from stagewise.cli.plan_work import GRADIENT, PYTHIA, PYTHIA_VOCABULARY, pythia_size
from stagewise.storage import studies


class Rates(NamedTuple):
    """Floating-point operations per second.

    Attributes:
        otherwise: Where nothing was measured.
        by_size: Of language models, by the size in their name.
        device: On which these were measured.
    """

    otherwise: float
    by_size: Mapping[str, float]
    device: str = ""

    def of(self, job: Job) -> float:
        """Return what a job reaches."""
        network = job.settings.get("network")
        size = pythia_size(network) if isinstance(network, Mapping) else None
        return self.by_size.get(size or "", self.otherwise)


def measured_rates(path: Path, otherwise: float) -> Rates:
    """Return the rates of a record; without one, only what is assumed.

    Raises:
        SchemaError: The file is no such record.
    """
    if not path.is_file():
        return Rates(otherwise, {})
    record = studies.read(path)
    found = {}
    for size, (layers, width) in PYTHIA.items():
        seconds = _value(record.numbers, f"scaling.bif.step.{_word(size)}")
        protocol = [_value(record.numbers, f"scaling.protocol.{name}") for name in _PROTOCOL]
        if seconds and all(protocol):
            batch, length = (int(one) for one in protocol)
            found[size] = batch * GRADIENT * _flop(layers, width, length) / seconds
    return Rates(otherwise, found, record.device)


_PROTOCOL = ("batch", "length")


def _flop(layers: int, width: int, length: int) -> float:
    from stagewise.models.flops import sequence_flop

    return sequence_flop(layers, width, 4, PYTHIA_VOCABULARY, length)


def _word(size: str) -> str:
    """Return a size as it stands in a key, which may hold no point: 1b4 for 1.4b."""
    whole, point, rest = size.partition(".")
    return f"{whole}b{rest.removesuffix('b')}" if point else size


def _value(numbers: Mapping[str, Any], key: str) -> float:
    return float(numbers[key]["value"]) if key in numbers else 0.0
