"""Stage: choose the sampler's settings for one problem by measurement."""

import sys
import time
from pathlib import Path

from stagewise.calibration import settings as calibration_file
from stagewise.calibration.calibrate import Goal, calibrate
from stagewise.cli.problem import load_problem, read_checkpoint
from stagewise.cli.stage import stage
from stagewise.config.calibration import CalibrateStage


def problem_calibrate(settings: CalibrateStage, checkpoint: Path, out: Path) -> None:
    """Flies the pilots, prints what each showed, and writes the choice with its evidence."""
    problem, begun = load_problem(settings.problem, settings.seed), time.monotonic()
    goal = settings.goal
    found = calibrate(
        problem.train,
        read_checkpoint(checkpoint),
        queries=problem.queries,
        batch_sizes=[size or None for size in goal.batch_sizes],
        goal=Goal(
            damping=settings.problem.damping,
            locality=goal.locality,
            bias=goal.bias,
            reliability=goal.reliability,
            chains=settings.chains,
            pilot_chains=goal.pilot_chains,
        ),
        seed=settings.seed,
        say=lambda line: print(line, flush=True),
    )
    evidence = {**found.evidence, "seconds_spent": time.monotonic() - begun}
    calibration_file.write(calibration_file.with_evidence(found, evidence), out)


main = stage(problem_calibrate)

if __name__ == "__main__":
    sys.exit(main())
