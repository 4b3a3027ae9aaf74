"""Stage: every setting of one attributor on one problem."""

import resource
import sys
from pathlib import Path

import numpy as np

from stagewise.baselines.attributor import Attributed, attribute
from stagewise.baselines.attributors.by_name import ATTRIBUTORS
from stagewise.cli.retraining_problem import Problem, load_problem, read_trained, signed
from stagewise.cli.stage import stage
from stagewise.config.retraining import SETTINGS, AttributeStage
from stagewise.errors import ConfigError
from stagewise.files import scratch_folder, sha256_file
from stagewise.provenance import loaded_code
from stagewise.storage import scores


def retraining_attribute(
    settings: AttributeStage, checkpoints: Path, scratch: Path, out: list[Path]
) -> None:
    """Scores all pairs of query and sample, setting by setting, and says what each cost."""
    problem = load_problem(settings)
    identity = {"settings": settings.model_dump(), "code": loaded_code()}
    identity["checkpoints"] = sha256_file(checkpoints)
    attributor = ATTRIBUTORS[settings.method]
    if not len(out) == len(attributor.settings) == SETTINGS:
        raise ConfigError(
            f"{settings.method} has {len(attributor.settings)} settings and {len(out)} files to "
            f"write; every attributor has {SETTINGS}, so that each has the same chance"
        )
    with scratch_folder(scratch, identity) as folder:
        given = read_trained(checkpoints, problem, settings.seed, folder)
        for found in attribute(settings.method, attributor, given):
            _write(found, settings, problem, checkpoints, out[found.setting])
            print(f"{found.label}: {found.seconds:.1f} s", flush=True)


def _write(
    found: Attributed, settings: AttributeStage, problem: Problem, checkpoints: Path, out: Path
) -> None:
    value = found.value.cpu().numpy()
    dataset = scores.from_arrays(
        value=value,
        se=np.zeros_like(value),
        query=problem.asked.ids,
        sample=problem.samples.ids,
        method=settings.method,
        attrs={
            "setting": found.setting,
            "setting_label": found.label,
            "seconds": found.seconds,
            "peak_memory_mb": peak_memory_mb(),
        },
    )
    inputs = {"checkpoints": checkpoints}
    scores.write(signed(dataset, "retraining_attribute", settings, inputs), out)


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, megabytes; its libraries count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


main = stage(retraining_attribute)

if __name__ == "__main__":
    sys.exit(main())
