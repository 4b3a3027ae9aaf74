"""Stage: the setting of each attributor of one problem that its tuning subsets choose."""

import sys
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.retraining import ProblemStage
from stagewise.evaluation.retraining_files import candidate, chosen, truths
from stagewise.files import read_json, write_json
from stagewise.storage import scores as scores_file
from stagewise.storage import targets as targets_file


def retraining_choice(settings: ProblemStage, targets: Path, scores: list[Path], out: Path) -> None:
    """Takes the best linear datamodelling score on subsets that are not scored."""
    found = truths([targets_file.read(targets)])
    candidates = [candidate(scores_file.read(path), found) for path in scores]
    best = chosen(candidates, found)[settings.name]
    write_json(
        out,
        {
            "problem": settings.name,
            "settings": {method: one.setting for method, one in best.items()},
            "labels": {method: one.label for method, one in best.items()},
        },
    )


def read_choice(path: Path) -> dict[str, int]:
    """Return the chosen setting of each attributor."""
    return read_json(path)["settings"]


main = stage(retraining_choice)

if __name__ == "__main__":
    sys.exit(main())
