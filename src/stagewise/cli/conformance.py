"""Stage: one sampler on all problems of the conformance suite."""

import sys
import warnings
from pathlib import Path

from stagewise.cli.stage import stage
from stagewise.config.conformance import ConformanceStage
from stagewise.conformance.adapters.by_name import sampler
from stagewise.conformance.problems.by_name import problem
from stagewise.conformance.suite import run_suite
from stagewise.conformance.verdict import Rule
from stagewise.files import atomic_path


def conformance(settings: ConformanceStage, out: Path) -> None:
    """Runs a sampler through its adapter and sets its losses beside exact values."""
    judge = settings.judge
    # Other people's deprecation notices, one per import, would hide what matters in the log.
    warnings.filterwarnings("ignore", category=FutureWarning)
    problems = [problem(name).with_length(judge.chains, judge.draws) for name in judge.problems]
    table = run_suite(
        [sampler(settings.sampler, judge.friction)],
        problems,
        Rule(judge.false_fail, judge.allowance),
        settings.seed,
    )
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False)
    shown = table[["problem", "check", "law", "relative_error", "caught", "passed"]]
    print(shown.to_string(index=False))


main = stage(conformance)

if __name__ == "__main__":
    sys.exit(main())
