# What the rules of the calibration are told: names, runs, grids. No rules here.
CALIBRATION = CONFIG.calibration
GRIDS = {name: grid.rows(name) for name, grid in CALIBRATION.grids.items()}

CHECKPOINT = "<results>/calibration/{problem}/checkpoint.nc"
EXACT = "<results>/calibration/{problem}/exact.nc"
CHOICE = "<results>/calibration/{problem}/calibration.json"
RUN = "<results>/calibration/{problem}/runs/{run}.nc"


def problem_runs(problem):
    """Every sampling run on a problem by name: rows of the default run, and cells of grids."""
    runs = dict(CALIBRATION.rows.get(problem, {}))
    for name, cells in GRIDS.items():
        if CALIBRATION.grids[name].problem == problem:
            runs |= cells
    return runs


RUNS = {problem: problem_runs(problem) for problem in CALIBRATION.problems}
ROW_RUNS = [
    RUN.format(problem=problem, run=run)
    for problem, rows in CALIBRATION.rows.items()
    for run in rows
]
GRID_RUNS = [
    RUN.format(problem=CALIBRATION.grids[name].problem, run=run)
    for name, cells in GRIDS.items()
    for run in cells
]

NUMBERS += ["<results>/calibration/numbers.json"]
BENCHMARKS += [
    *expand(
        "<benchmarks>/problem_{job}/{problem}.tsv",
        job=["train", "exact", "calibrate"],
        problem=CALIBRATION.problems,
    ),
    *[
        f"<benchmarks>/problem_sample/{problem}_{run}.tsv"
        for problem, rows in CALIBRATION.rows.items()
        for run in rows
    ],
    "<benchmarks>/problem_table.tsv",
]


wildcard_constraints:
    problem="|".join(CALIBRATION.problems),
    run="|".join(sorted({run for runs in RUNS.values() for run in runs})),


def of_problem(problem):
    """What every job on one problem is told."""
    return dict(seed=CONFIG.seed, name=problem, problem=CALIBRATION.problems[problem])


def choice_of(problem, run):
    """The calibration, for runs that use it."""
    return [CHOICE.format(problem=problem)] if RUNS[problem][run].calibrated else []
