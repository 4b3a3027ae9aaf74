# Which jobs the two-task experiment has and what each of them is told. No rules here.
MULTITASK = CONFIG.multitask

MT_FOLDER = "<results>/multitask"
MT_TRAINING = f"{MT_FOLDER}/training.nc"
MT_TRACE = f"{MT_FOLDER}/traces/{{mt_row}}_{{mt_first}}.nc"
MT_KERNEL = f"{MT_FOLDER}/kernels/{{mt_row}}_{{mt_first}}.nc"

MULTITASK_TABLES = [
    f"multitask_{name}" for name in "separation kernel map coupling".split()
]

NUMBERS += [
    f"{MT_FOLDER}/numbers.json",
    f"{MT_FOLDER}/numbers_timing.json",
]


def mt_jobs():
    """Every sampling row by blocks of seeds."""
    return [
        dict(mt_row=name, mt_first=MULTITASK.seeds[start])
        for name, row in MULTITASK.rows.items()
        for start in range(0, len(MULTITASK.seeds), row.block)
    ]


def of_two_tasks(w):
    """What sampling one row on a block of seeds, and estimating their kernels, are told."""
    row, start = MULTITASK.rows[w.mt_row], MULTITASK.seeds.index(int(w.mt_first))
    return dict(
        seed=CONFIG.seed,
        data=MULTITASK.data,
        training=MULTITASK.training,
        name=w.mt_row,
        row=row,
        run_seeds=MULTITASK.seeds[start : start + row.block],
    )


def multitask_benchmarks():
    """Benchmark files of the two-task jobs in the default run."""
    jobs = ["multitask_train", "multitask_tables"]
    for name in ("sample", "kernel"):
        jobs += [
            f"multitask_{name}/{{mt_row}}_{{mt_first}}".format(**job)
            for job in mt_jobs()
        ]
    return [f"<benchmarks>/{job}.tsv" for job in jobs]


BENCHMARKS += [*multitask_benchmarks(), "<benchmarks>/multitask_timing.tsv"]


wildcard_constraints:
    mt_row="|".join(MULTITASK.rows),
    mt_first=r"\d+",
