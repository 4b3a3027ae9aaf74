# Which jobs the comparison by retraining has and what each is told. No rules here.
RETRAINING = CONFIG.retraining
RETRAINED = RETRAINING.problems
# Problems of the default run; the rules are those of the studies' too.
RT_COMPARED = {
    name: problem
    for name, problem in RETRAINED.items()
    if name not in RETRAINING.studies
}

RT_FOLDER = "<results>/retraining/{rproblem}"
RT_CHECKPOINTS = f"{RT_FOLDER}/checkpoints_{{labels}}.nc"
RT_TARGETS = f"{RT_FOLDER}/targets_{{rset}}.nc"
RT_MODELS = f"{RT_FOLDER}/models_{{rset}}.nc"
RT_BLOCK = f"{RT_FOLDER}/blocks/targets_{{rset}}_{{start}}.nc"
RT_BLOCK_MODELS = f"{RT_FOLDER}/blocks/models_{{rset}}_{{start}}.nc"
RT_REMOVAL = f"{RT_FOLDER}/targets_removal.nc"
RT_SCORES = f"{RT_FOLDER}/scores/{{method}}_{{setting}}.nc"
RT_CALIBRATION = f"{RT_FOLDER}/calibration.json"
RT_CHOICE = f"{RT_FOLDER}/choice.json"
RT_MISLABEL = f"{RT_FOLDER}/mislabel/{{method}}.nc"

# Attributors that come from chains, both from the same, and settings of every attributor.
RT_SAMPLED = ["bif", "bif_correlation"]
RT_SETTINGS = list(range(9))

# The others.
RT_SCORED = sorted(
    {one for of in RETRAINED.values() for one in of.methods} - set(RT_SAMPLED)
)

RETRAINING_TABLES = [
    f"retraining_{name}"
    for name in "lds difference settings ceiling loo removal signs mislabel cost".split()
]


def rt_scores(rproblem, methods):
    """Score files of all settings of some attributors."""
    return [
        RT_SCORES.format(rproblem=rproblem, method=method, setting=setting)
        for method in methods
        for setting in RT_SETTINGS
    ]


def rt_targets(problems):
    """Target files of some problems."""
    sets = [
        RT_TARGETS.format(rproblem=name, rset=one)
        for name, problem in problems.items()
        for one in problem.sets
    ]
    removals = [
        RT_REMOVAL.format(rproblem=name)
        for name, problem in problems.items()
        if problem.removal
    ]
    return [*sets, *removals]


def rt_all_scores(problems):
    """Score files of all attributors of some problems."""
    return [
        path
        for name, problem in problems.items()
        for path in rt_scores(name, problem.methods)
    ]


def rt_start(w):
    """The weights that a problem's trainings start from, where there are some."""
    return (
        RT_CHECKPOINTS.format(rproblem=w.rproblem, labels="clean")
        if RETRAINED[w.rproblem].started
        else []
    )


def rt_mislabelled():
    """Files of detectors of flipped labels."""
    return [
        RT_MISLABEL.format(rproblem=name, method=method)
        for name, problem in RT_COMPARED.items()
        if problem.flips
        for method in problem.flips.methods
    ]


def of_retraining(rproblem):
    """What every job on one problem is told: not how it is cut into jobs, nor how others sample."""
    problem = RETRAINED[rproblem].model_copy(
        update=dict(subset_block=None, sampled=None)
    )
    return dict(seed=CONFIG.seed, name=rproblem, problem=problem)


def rt_sampled(rproblem):
    """Sampling runs of a problem."""
    return RETRAINED[rproblem].sampled or RETRAINING.sampled


def rt_block(w):
    """What a job on a block of subsets is told beside the problem."""
    block = RETRAINED[w.rproblem].subset_block
    return dict(set_name=w.rset, start=int(w.start), block=block)


def rt_starts(rproblem, rset):
    """Numbers of the first subsets of all blocks; leaving samples out has the full set beside."""
    one = RETRAINED[rproblem].sets[rset]
    return range(0, one.subsets + (one.role == "loo"), RETRAINED[rproblem].subset_block)


def rt_blocks(w, path):
    """Files of all blocks of a set, in order."""
    starts = [f"{start:05d}" for start in rt_starts(w.rproblem, w.rset)]
    return expand(path, start=starts, allow_missing=True)


def rt_cut(cut):
    """A pattern of the problems whose sets are cut into blocks, or of those that are not."""
    names = [
        name
        for name, problem in RETRAINED.items()
        if (problem.subset_block is not None) == cut
    ]
    return "|".join(names) or "(?!)"


def rt_is_large(rproblem):
    """Whether a problem is for a GPU."""
    return RETRAINED[rproblem].large


def rt_large(w):
    """Whether a job's problem is for a GPU."""
    return rt_is_large(w.rproblem)


def rt_gpu(w):
    """GPUs of a job, unless `--resources gpu=0` asks for none."""
    return GPUS if rt_large(w) else 0


def rt_memory(small, large=64000):
    """Megabytes of a job: so many on digits, so many on what is for a GPU."""
    return lambda w: large if rt_large(w) else small


def rt_minutes(small):
    """Minutes of a job, at most: so many on digits."""
    return lambda w: 1440 if rt_large(w) else small


def rt_table_memory(w):
    """Megabytes of the tables of all problems."""
    return 16000 if any(map(rt_is_large, RETRAINED)) else 4000


def rt_tuning(rproblem):
    """The targets that settings are chosen on."""
    (name,) = [
        name for name, one in RETRAINED[rproblem].sets.items() if one.role == "tuning"
    ]
    return RT_TARGETS.format(rproblem=rproblem, rset=name)


def rt_target_benchmarks(name):
    """Benchmark files of a problem's sets."""
    problem = RETRAINED[name]
    if problem.subset_block is None:
        return [f"retraining_targets/{name}_{one}" for one in problem.sets]
    return [
        f"retraining_block/{name}_{one}_{start:05d}"
        for one in problem.sets
        for start in rt_starts(name, one)
    ] + [f"retraining_join/{name}_{one}" for one in problem.sets]


def rt_benchmarks():
    """Benchmark files of the default run."""
    found = ["retraining_tables"]
    for name, problem in RT_COMPARED.items():
        found += [f"retraining_train/{name}_clean", f"retraining_calibrate/{name}"]
        found += rt_target_benchmarks(name)
        found += [f"retraining_sample/{name}_{setting}" for setting in RT_SETTINGS]
        found += [
            f"retraining_attribute/{name}_{method}"
            for method in problem.methods
            if method not in RT_SAMPLED
        ]
        if problem.removal or problem.flips:
            found.append(f"retraining_choice/{name}")
        if problem.removal:
            found.append(f"retraining_removal/{name}")
        if problem.flips:
            found.append(f"retraining_train/{name}_flipped")
            found += [
                f"retraining_mislabel/{name}_{one}" for one in problem.flips.methods
            ]
    return [f"<benchmarks>/{one}.tsv" for one in found]


NUMBERS += [
    "<results>/retraining/numbers.json",
    "<results>/retraining/numbers_timing.json",
]
BENCHMARKS += [*rt_benchmarks(), "<benchmarks>/retraining_timing.tsv"]


wildcard_constraints:
    rproblem="|".join(RETRAINED),
    rset="|".join(sorted({one for of in RETRAINED.values() for one in of.sets})),
    method="|".join(sorted({one for of in RETRAINED.values() for one in of.methods})),
    setting=r"\d",
    start=r"\d+",
