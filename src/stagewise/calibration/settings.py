"""The outcome of a calibration: settings, why they were chosen, and a file that names them."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from stagewise.errors import SchemaError
from stagewise.files import read_json, write_json
from stagewise.sampling.kernels.by_name import WITH_FRICTION, Kernel, Name, make
from stagewise.sampling.potential import Kind
from stagewise.sampling.records import Schedule

SCHEMA, VERSION = "stagewise.calibration", 1


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Settings of a sampling run, and the evidence for them.

    Attributes:
        kernel: Name of the kernel.
        step_size: ε.
        friction: f; None for kernels without a velocity.
        n_beta: nβ.
        localization: γ.
        potential: "plain" or "recentred".
        control_variate: Of the minibatch gradient.
        batch_size: None for full gradients.
        chains: Chains of the run.
        burn_in: Steps before the first draw.
        draws: Recorded draws per chain.
        spacing: Steps per draw.
        evidence: Predictions and measurements by name, plain numbers.
        table: What was tried: rows (phase, n_beta, localization, step_size, and statistics).
    """

    kernel: Name
    step_size: float
    friction: float | None
    n_beta: float
    localization: float
    potential: Kind
    control_variate: bool
    batch_size: int | None
    chains: int
    burn_in: int
    draws: int
    spacing: int
    evidence: Mapping[str, float | int | bool | None]
    table: tuple[Mapping[str, float | int | str | None], ...]

    def settings(self) -> dict[str, Any]:
        """Return what ``sample_losses`` takes: ``sample_losses(model, ..., **settings())``."""
        chosen = dataclasses.asdict(self)
        return {key: chosen[key] for key in chosen if key not in ("evidence", "table")}

    def make_kernel(self) -> Kernel:
        """Return the kernel."""
        adapt = self.burn_in if self.kernel == "rmsprop_sgld" else None
        friction = self.friction if self.kernel in WITH_FRICTION else None
        return make(self.kernel, self.step_size, friction=friction, adapt_steps=adapt)

    def schedule(self) -> Schedule:
        """Return burn-in, draws and spacing."""
        return Schedule(self.burn_in, self.draws, self.spacing)


def with_evidence(calibration: Calibration, evidence: Mapping[str, Any]) -> Calibration:
    """Return the same settings with other evidence."""
    return dataclasses.replace(calibration, evidence=dict(evidence))


def write(calibration: Calibration, path: str | os.PathLike[str]) -> None:
    """Write a calibration atomically as JSON."""
    content = dataclasses.asdict(calibration)
    write_json(path, {"schema": SCHEMA, "schema_version": VERSION, **content})


def read(path: str | os.PathLike[str]) -> Calibration:
    """Read a calibration.

    Raises:
        SchemaError: It is missing, truncated, of another version, or lacks a setting.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise SchemaError(f"{path} is no calibration; delete it and run its stage again")
    if content.get("schema_version") != VERSION:
        raise SchemaError(
            f"{path} has version {content.get('schema_version')}, this code reads {VERSION}; "
            "delete it and run its stage again"
        )
    names = {field.name for field in dataclasses.fields(Calibration)}
    found = {key: value for key, value in content.items() if not key.startswith("schema")}
    if set(found) != names:
        raise SchemaError(
            f"{path} differs from a calibration in {sorted(names ^ set(found))}; delete it and run "
            "its stage again"
        )
    return Calibration(**{**found, "table": tuple(found["table"])})
