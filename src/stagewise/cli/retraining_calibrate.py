"""Stage: choose the sampler's settings for one network by measurement."""

import sys
import time
from pathlib import Path

from stagewise.calibration import settings as calibration_file
from stagewise.calibration.calibrate import Goal, calibrate
from stagewise.cli.retraining_problem import load_problem, read_trained
from stagewise.cli.stage import stage
from stagewise.config.retraining import SampledStage


def retraining_calibrate(settings: SampledStage, checkpoints: Path, out: Path) -> None:
    """Flies the pilots, prints what each showed, and writes the choice with its evidence."""
    problem, begun = load_problem(settings), time.monotonic()
    sampled, goal = settings.sampled, settings.sampled.goal
    given = read_trained(checkpoints, problem, settings.seed, out.parent)
    found = calibrate(
        problem.train,
        given.centre[None],
        queries=problem.queries,
        batch_sizes=[size or None for size in goal.batch_sizes],
        goal=Goal(
            damping=sampled.damping,
            locality=goal.locality,
            bias=goal.bias,
            reliability=goal.reliability,
            chains=sampled.chains,
            pilot_chains=goal.pilot_chains,
        ),
        seed=settings.seed,
        say=lambda line: print(line, flush=True),
    )
    evidence = {**found.evidence, "seconds_spent": time.monotonic() - begun}
    calibration_file.write(calibration_file.with_evidence(found, evidence), out)


main = stage(retraining_calibrate)

if __name__ == "__main__":
    sys.exit(main())
