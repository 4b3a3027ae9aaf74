# Which jobs the toy experiment has and what each of them is told. No rules here.
TOY = CONFIG.toy
ROWS = TOY.all_rows()

TREE = "<results>/toy/{tree}"
TRAINING = f"{TREE}/training.nc"
MODES = f"{TREE}/modes.nc"
TRAJECTORY = f"{TREE}/trajectory.nc"
RETRAIN = f"{TREE}/retrain.nc"
WINDOWS = f"{TREE}/windows.nc"
REPRESENTATIONS = f"{TREE}/representations.nc"
LAW = f"{TREE}/law/{{row}}.nc"
TRACE = f"{TREE}/traces/{{row}}/seed{{seed}}.nc"
BIF = f"{TREE}/bif/{{row}}/seed{{seed}}.nc"

# The toy's share of the numbers of the paper.
TOY_NUMBERS = expand(
    "<results>/toy/numbers_{part}.json",
    part=[
        "runs",
        "tables",
        "agreement",
        "sweep",
        "mixture",
        "diagnostics",
        "throughput",
        "timing",
        "streams",
    ],
)

NUMBERS += TOY_NUMBERS

# Row of the sampling table that every headline number uses.
MAIN = "main"
# A row that repeats another with other random numbers, and the rows that laws are compared with.
STREAMS = "streams"
COMPARED = [row for row in TOY.sampling if row != STREAMS]


def of_tree(tree):
    """What every job on one tree is told."""
    return dict(
        seed=CONFIG.seed, name=tree, tree=TOY.trees[tree], training=TOY.training
    )


def of_row(tree, row, **narrowed):
    """What a job on one row of the sampling table is told.

    Other trees and seeds of the row are left out: adding one to the config then runs the new jobs
    and no others.
    """
    sampling = ROWS[row].model_copy(update=dict(trees=[tree], **narrowed))
    return of_tree(tree) | dict(row=row, sampling=sampling)


def of_seed(tree, row, seed):
    """What a sampling job is told."""
    return of_row(tree, row, seeds=[int(seed)]) | dict(training_seed=int(seed))


def of_rows(rows):
    """What a job that compares `rows` of the sampling table is told."""
    return dict(trees=TOY.trees, rows={row: ROWS[row] for row in rows})


def by_tree(path):
    """`path` for every tree."""
    return expand(path, tree=TOY.trees)


def sampled(path, rows):
    """`path` for every tree and training seed that `rows` sample."""
    return [
        path.format(tree=tree, row=row, seed=seed)
        for row in rows
        for tree in ROWS[row].trees
        for seed in ROWS[row].seeds
    ]


def laws(rows):
    """The laws of `rows`, on every tree that they sample."""
    return [LAW.format(tree=tree, row=row) for row in rows for tree in ROWS[row].trees]


def sweep_rows(sweep):
    """Names of the sampling rows that a sweep consists of."""
    return TOY.sweeps[sweep].rows(sweep, TOY.sampling[TOY.sweeps[sweep].base])


def of_sweep(sweep):
    """What a sweep compares."""
    tree = TOY.sweeps[sweep].tree
    return dict(
        trajectory=TRAJECTORY.format(tree=tree),
        retrain=RETRAIN.format(tree=tree),
        law=laws(sweep_rows(sweep)),
        bif=sampled(BIF, sweep_rows(sweep)),
    )


def table_files(*names):
    """The tidy tables of the toy experiment by their short names."""
    return expand("<results>/tables/toy_{name}.csv", name=names)


def toy_benchmarks():
    """Benchmark files of the toy jobs in the default run."""
    rows = [*TOY.sampling, *sweep_rows("corner")]
    per_tree = "train modes trajectory retrain windows representations".split()
    once = "mixture tables diagnostics agreement sweep_table run_tables streams".split()
    jobs = [f"{name}/{tree}" for name in per_tree for tree in TOY.trees]
    jobs += [f"law/{tree}_{row}" for row in rows for tree in ROWS[row].trees]
    for name in ("sample", "estimate"):
        jobs += sampled(f"{name}/{{tree}}_{{row}}_seed{{seed}}", rows)
    return [f"<benchmarks>/toy_{job}.tsv" for job in [*jobs, *once]]


def run_benchmarks():
    """Benchmark files of the whole default run: all acts, the toy's timing and the figures."""
    figures = [f"<benchmarks>/figure/{figure}.tsv" for figure in FIGURES]
    return [
        *toy_benchmarks(),
        "<benchmarks>/toy_throughput.tsv",
        *BENCHMARKS,
        *figures,
    ]
