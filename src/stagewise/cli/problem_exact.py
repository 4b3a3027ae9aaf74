"""Stage: the exact damped influence at the checkpoint of one problem."""

import sys
import time
from pathlib import Path

import numpy as np

from stagewise.baselines.exact import exact_influence
from stagewise.cli.problem import load_problem, read_checkpoint, signed
from stagewise.cli.stage import stage
from stagewise.config.calibration import ProblemStage
from stagewise.storage import scores


def problem_exact(settings: ProblemStage, checkpoint: Path, out: Path) -> None:
    """Forms the Gauss-Newton matrix and solves for every pair of query and sample."""
    problem, begun = load_problem(settings.problem, settings.seed), time.monotonic()
    w = read_checkpoint(checkpoint)[0]
    found = exact_influence(problem.train, problem.queries, w, [settings.problem.damping])
    value = found.value[0].numpy()
    dataset = scores.from_arrays(
        value=value,
        se=np.zeros_like(value),
        query=problem.asked.ids,
        sample=problem.samples.ids,
        method="exact_ggn",
        attrs={
            "damping": settings.problem.damping,
            "trace": found.trace,
            "seconds": time.monotonic() - begun,
        },
    )
    scores.write(signed(dataset, "problem_exact", settings, {"checkpoint": checkpoint}), out)


main = stage(problem_exact)

if __name__ == "__main__":
    sys.exit(main())
