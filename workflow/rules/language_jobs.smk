# Which jobs the language experiments have and what each of them is told. No rules here.
LANGUAGE = CONFIG.language
LANGUAGE_RUNS = LANGUAGE.runs
INTERVENTION = LANGUAGE.intervention

LANGUAGE_FOLDER = "<results>/language/{lm}"
CORPUS = f"{LANGUAGE_FOLDER}/corpus.nc"
LM_SEED = f"{LANGUAGE_FOLDER}/seed{{run_seed}}"
LM_TRAINING = f"{LM_SEED}/training.nc"
LM_TRACE = f"{LM_SEED}/traces/step{{first}}_chain{{chain}}.nc"
LM_PRIOR = f"{LM_SEED}/priors/step{{first}}_chain{{chain}}.nc"
LM_GRADIENTS = f"{LM_SEED}/gradients.nc"
LM_INFLUENCE = f"{LM_SEED}/influence.nc"
LM_STAGES = f"{LANGUAGE_FOLDER}/stages.json"
LM_MEASURES = f"{LANGUAGE_FOLDER}/stages.csv"
LM_BRANCH = f"{LM_SEED}/branches/{{arm}}.nc"

LANGUAGE_TABLES = [
    f"language_{name}" for name in "curves heat text scores llc cancel claims".split()
]

NUMBERS += [
    "<results>/language/numbers.json",
    "<results>/language/numbers_timing.json",
]


def branch_seeds(lm, study):
    """Seeds of a run that the intervention branches off."""
    if INTERVENTION is None or INTERVENTION.run != lm:
        return []
    return list(INTERVENTION.study_seeds if study else INTERVENTION.seeds)


def measured_seeds(lm):
    """Seeds whose stages the default run measures."""
    run = LANGUAGE_RUNS[lm]
    return sorted({*run.trained_seeds(), *branch_seeds(lm, study=False)})


def trained(lm, seeds):
    """The training files of some seeds."""
    return [LM_TRAINING.format(lm=lm, run_seed=seed) for seed in seeds]


def lm_blocks(lm, seed):
    """Blocks of checkpoints and of chains, by their first step and first chain."""
    sampling, steps = LANGUAGE_RUNS[lm].sampling, LANGUAGE_RUNS[lm].grids[seed]
    return [
        dict(lm=lm, run_seed=seed, first=steps[start], chain=chain)
        for start in range(0, len(steps), sampling.checkpoint_block)
        for chain in range(0, sampling.chains, sampling.chain_block)
    ]


def lm_grid(lm, seed):
    """Steps at which a seed is sampled."""
    return LANGUAGE_RUNS[lm].grids[int(seed)]


def block_steps(lm, seed, first):
    """Steps of the block that begins with `first`."""
    steps = lm_grid(lm, seed)
    start = steps.index(int(first))
    return steps[start : start + LANGUAGE_RUNS[lm].sampling.checkpoint_block]


def of_training(w):
    """What the training of one seed is told."""
    run, seed = LANGUAGE_RUNS[w.lm], int(w.run_seed)
    branches = seed in branch_seeds(w.lm, study=True)
    return dict(
        seed=CONFIG.seed,
        name=w.lm,
        run_seed=seed,
        network=run.network,
        training=run.training,
        steps=run.all_steps(),
        branch_step=INTERVENTION.branch.step if branches else None,
    )


def of_sampling(w, steps, chain):
    """What sampling about some checkpoints is told."""
    run = LANGUAGE_RUNS[w.lm]
    return dict(
        seed=CONFIG.seed,
        name=w.lm,
        network=run.network,
        sampling=run.sampling,
        steps=steps,
        chain_start=int(chain),
    )


def of_gradients(w):
    """What the products of gradients at all checkpoints of a seed are told."""
    run = LANGUAGE_RUNS[w.lm]
    return dict(
        seed=CONFIG.seed,
        name=w.lm,
        network=run.network,
        recorded=run.sampling.recorded,
        steps=lm_grid(w.lm, w.run_seed),
    )


def of_branch(w):
    """What one arm on one seed is told."""
    run = LANGUAGE_RUNS[w.lm]
    return dict(
        seed=CONFIG.seed,
        name=w.lm,
        run_seed=int(w.run_seed),
        pilot=run.pilot,
        arm=w.arm,
        network=run.network,
        training=run.training,
        branch=INTERVENTION.branch,
    )


def branches(study):
    """Files of every arm and seed of the intervention."""
    if INTERVENTION is None:
        return []
    arms = INTERVENTION.study_arms if study else INTERVENTION.arms
    return [
        LM_BRANCH.format(lm=INTERVENTION.run, run_seed=seed, arm=arm)
        for arm in arms
        for seed in branch_seeds(INTERVENTION.run, study)
    ]


def of_branch_table(study):
    """What the table of the intervention is told."""
    arms = INTERVENTION.study_arms if study else INTERVENTION.arms
    return dict(
        arms=arms,
        threshold=INTERVENTION.branch.threshold,
        bootstrap=LANGUAGE.bootstrap,
        seed=CONFIG.seed,
        prefix="language.intervention" + (".study" if study else ""),
    )


def is_public(w):
    """Whether a run samples public checkpoints, which are large."""
    return LANGUAGE_RUNS[w.lm].network.kind == "pretrained"


def lm_gpu(w):
    """GPUs of a job: one for a large model, unless `--resources gpu=0` asks for none."""
    return GPUS if is_public(w) else 0


def lm_memory(w):
    """Megabytes of a job that holds a model, its gradients and the logits of a minibatch."""
    return 24000 if is_public(w) else 3000


def lm_influence_memory(w):
    """Megabytes of a job that holds all traces of a training twice: as read, and merged."""
    run = LANGUAGE_RUNS[w.lm]
    draws = run.sampling.draws + run.sampling.prior_draws
    tokens = run.sampling.recorded * run.source.length
    numbers = len(lm_grid(w.lm, w.run_seed)) * run.sampling.chains * draws * tokens
    return 3000 + 2 * 4 * numbers // 10**6


def lm_minutes(w):
    """Minutes of such a job, at most."""
    return 480 if is_public(w) else 60


def language_benchmarks():
    """Benchmark files of the language jobs in the default run."""
    jobs = ["language_tables"]
    for lm, run in LANGUAGE_RUNS.items():
        jobs += [f"language_{name}/{lm}" for name in ("corpus", "stages")]
        jobs += [f"language_train/{lm}_{seed}" for seed in measured_seeds(lm)]
        for seed in run.grids:
            jobs += [
                f"language_{name}/{lm}_{seed}" for name in ("gradients", "influence")
            ]
            jobs += [
                "language_sample/{lm}_{run_seed}_{first}_{chain}".format(**block)
                for block in lm_blocks(lm, seed)
            ]
    if INTERVENTION is not None:
        jobs += [
            f"language_branch/{INTERVENTION.run}_{seed}_{arm}"
            for arm in INTERVENTION.arms
            for seed in INTERVENTION.seeds
        ]
        jobs.append("language_branch_table")
    return [f"<benchmarks>/{job}.tsv" for job in jobs]


BENCHMARKS += [*language_benchmarks(), "<benchmarks>/language_timing.tsv"]
if INTERVENTION is not None:
    NUMBERS += ["<results>/language/numbers_intervention.json"]


wildcard_constraints:
    lm="|".join(LANGUAGE_RUNS),
    run_seed=r"\d+",
    first=r"\d+",
    chain=r"\d+",
    arm="during|before|after|random",
