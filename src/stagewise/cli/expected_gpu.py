"""Record a run of bench/gpu.py in paper/expected."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from stagewise.cli.expected_studies import working_commit
from stagewise.cli.stage import stage
from stagewise.config.root import load
from stagewise.evaluation.gpu import device_of, gpu_numbers, merged
from stagewise.files import read_json
from stagewise.storage import studies


def expected_gpu(
    measured: list[Path],
    default: Path = Path("config/default.yaml"),
    paper: Path = Path("config/paper.yaml"),
    out: Path = Path("paper/expected/gpu.json"),
) -> None:
    """Writes what bench/gpu.py measured into the record that the paper prints.

    With it go the commit of the working folder, the day and the device. Several files are one run
    that was made in parts: of what two of them hold, the last is taken.
    """
    run = merged(*(read_json(path) for path in measured))
    layers = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (default, paper)]
    settings = load(_laid_over(*layers))
    numbers = gpu_numbers(run, settings.scaling, settings.bench.standard_errors)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    record = studies.StudyRecord(working_commit(out.parent), day, numbers, device_of(run))
    studies.write(record, out)
    print(f"expected_gpu: {len(numbers)} numbers of {record.device} recorded in {out}")
    for name, why in sorted(run.get("errors", {}).items()):
        print(f"expected_gpu: not measured: {name}: {why.strip().splitlines()[-1][:120]}")


def _laid_over(below: dict, above: dict) -> dict:
    """Returns one configuration laid over another, as Snakemake does it."""
    merged_layers = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged_layers.get(key), dict)
        merged_layers[key] = _laid_over(merged_layers[key], value) if both else value
    return merged_layers


main = stage(expected_gpu)

if __name__ == "__main__":
    sys.exit(main())
