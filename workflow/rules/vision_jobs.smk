# Which jobs the loss kernels of image networks have and what each is told. No rules here.
VISION = CONFIG.vision
IMAGE_RUNS = VISION.runs

IMAGES_FOLDER = "<results>/vision/{vrun}"
IMAGES = f"{IMAGES_FOLDER}/images.nc"
IMAGE_TREE = f"{IMAGES_FOLDER}/items.nc"
IMAGE_TRAINING = f"{IMAGES_FOLDER}/training_{{labels}}.nc"
IMAGE_TRACE = f"{IMAGES_FOLDER}/traces/{{vjob}}_chain{{chain}}.nc"
IMAGE_KERNEL = f"{IMAGES_FOLDER}/kernels/{{vjob}}.nc"
IMAGE_SIMILARITY = f"{IMAGES_FOLDER}/similarity_{{when}}.nc"
IMAGE_DETECTORS = f"{IMAGES_FOLDER}/detectors.nc"
IMAGE_RESULT = f"{IMAGES_FOLDER}/numbers.json"

VISION_TABLES = [
    f"vision_{name}"
    for name in "alignment relations leads depths draws images matrix neighbours early".split()
]
MISLABEL_TABLES = ["vision_detectors", "vision_influence"]


def image_runs_with(table):
    """Runs that make a table, the main one first."""
    names = sorted(IMAGE_RUNS, key=lambda name: name != VISION.main)
    if table in MISLABEL_TABLES:
        return [name for name in names if IMAGE_RUNS[name].mislabel]
    return names


def chains_of(run, **update):
    """The sampling settings of a job: those of its run but for some."""
    return run.sampling.model_copy(update=update)


def grid_cells(run):
    """Settings of a run's grid by job: that of the first main run where they are its own."""
    cells = {}
    for i, n_beta in enumerate(run.study.n_beta):
        for j, localization in enumerate(run.study.localization):
            # As relaxed per step as the main runs, and as stable.
            share = min(
                run.sampling.localization / localization, run.sampling.n_beta / n_beta
            )
            sampling = chains_of(
                run,
                n_beta=n_beta,
                localization=localization,
                step_size=run.sampling.step_size * share,
                draws=run.study.draws,
            )
            known = sampling == run.sampling
            cells[f"main_{run.seeds[0]}" if known else f"grid_{i}_{j}"] = sampling
    return cells


def image_jobs(run, study=False):
    """Sampling runs by name: main ones, prior, wide, earlier checkpoints, judged."""
    one = dict(labels="clean", step=None, run_seed=run.seeds[0], recorded="held")
    if study:
        length = CONFIG.vision_study
        long = chains_of(run, draws=length.long_draws, chain_block=length.long_block)
        # The cell that is the main setting has been sampled already.
        cells = {
            name: one | dict(sampling=sampling)
            for name, sampling in grid_cells(run).items()
            if sampling != run.sampling
        }
        return {"long": one | dict(sampling=long)} | cells
    jobs = {
        f"main_{seed}": one | dict(run_seed=seed, sampling=run.sampling)
        for seed in run.seeds
    }
    jobs["prior"] = one | dict(sampling=chains_of(run, n_beta=0.0))
    if run.wide is not None:
        jobs["wide"] = one | dict(sampling=chains_of(run, **run.wide.model_dump()))
    for step in run.early_steps():
        jobs[f"early_{step}"] = one | dict(
            step=step, sampling=chains_of(run, draws=run.development_draws)
        )
    if run.mislabel is not None:
        jobs["judged"] = one | dict(
            labels="flipped",
            recorded="judged",
            judged=run.mislabel.judged,
            queries=run.mislabel.queries,
            sampling=run.sampling,
        )
    return jobs


IMAGE_JOBS = {
    name: image_jobs(run) | (image_jobs(run, study=True) if run.study else {})
    for name, run in IMAGE_RUNS.items()
}


def image_blocks(vrun, vjob):
    """Traces of a job's blocks of chains, by the first chain of each."""
    sampling = IMAGE_JOBS[vrun][vjob]["sampling"]
    return [
        IMAGE_TRACE.format(vrun=vrun, vjob=vjob, chain=chain)
        for chain in range(0, sampling.chains, sampling.chain_block)
    ]


def of_image_job(w):
    """What one block of chains is told; which labels were trained on is told by the training."""
    job = IMAGE_JOBS[w.vrun][w.vjob]
    return dict(
        seed=CONFIG.seed,
        name=w.vjob,
        chain_start=int(w.chain),
        **{key: value for key, value in job.items() if key != "labels"},
    )


def labels_of_job(w):
    """The training that a job samples about."""
    labels = IMAGE_JOBS[w.vrun][w.vjob]["labels"]
    return IMAGE_TRAINING.format(vrun=w.vrun, labels=labels)


def whens(run):
    """Names of the checkpoints whose features are compared: the last, and earlier steps."""
    return ["last", *map(str, run.early_steps())]


def of_image_tables(vrun):
    """Inputs of the tables of one run, by flag."""
    run = IMAGE_RUNS[vrun]
    return dict(
        images=IMAGES.format(vrun=vrun),
        taxonomy=IMAGE_TREE.format(vrun=vrun),
        training=IMAGE_TRAINING.format(vrun=vrun, labels="clean"),
        kernels=[
            IMAGE_KERNEL.format(vrun=vrun, vjob=job)
            for job in image_jobs(run)
            if job != "judged"
        ],
        similarities=[
            IMAGE_SIMILARITY.format(vrun=vrun, when=when) for when in whens(run)
        ],
    )


def of_image_map(vrun):
    """Inputs of the map of one run."""
    found = of_image_tables(vrun)
    del found["training"]
    return found


def of_image_training(w):
    """What a training is told."""
    run = IMAGE_RUNS[w.vrun]
    share = run.mislabel.share if w.labels == "flipped" else None
    return dict(seed=CONFIG.seed, labels=w.labels, network=run.network, share=share)


def studied_jobs(vrun, part):
    """Sampling runs of one study of a run, by name: those of the grid, or the long one."""
    jobs = image_jobs(IMAGE_RUNS[vrun], study=True)
    return {job: one for job, one in jobs.items() if job.partition("_")[0] == part}


def of_sensitivity(vrun, part):
    """What the table of a run's study is told."""
    grid = [
        dict(
            name=job,
            n_beta=sampling.n_beta,
            localization=sampling.localization,
            step_size=sampling.step_size,
        )
        for job, sampling in grid_cells(IMAGE_RUNS[vrun]).items()
    ]
    return dict(
        seed=CONFIG.seed,
        run=vrun,
        main=vrun == VISION.main,
        permutations=VISION.permutations,
        grid=grid if part == "grid" else [],
    )


def kernels_of_study(vrun, part):
    """Kernels of a study, and those of the main runs that they are compared with."""
    main = [f"main_{seed}" for seed in IMAGE_RUNS[vrun].seeds]
    jobs = [*main, *studied_jobs(vrun, part)]
    return [IMAGE_KERNEL.format(vrun=vrun, vjob=job) for job in jobs]


def is_large(w):
    """Whether a run's images are of a folder: for a GPU."""
    return IMAGE_RUNS[w.vrun].source.kind == "image_folder"


def image_gpu(w):
    """GPUs of a job, unless `--resources gpu=0` asks for none."""
    return GPUS if is_large(w) else 0


def image_memory(w):
    """Megabytes of a job that holds the images, the network and its activations."""
    return 24000 if is_large(w) else 5000


def image_table_memory(w):
    """Megabytes of a job on similarities of all recorded images: some fifty matrices at most."""
    return 3000 + 50 * 8 * IMAGE_RUNS[w.vrun].recorded ** 2 // 10**6


def image_minutes(w):
    """Minutes of a job, at most."""
    return 480 if is_large(w) else 60


def image_benchmarks():
    """Benchmark files of the default run."""
    found = []
    for name, run in IMAGE_RUNS.items():
        labels = ["clean", "flipped"] if run.mislabel else ["clean"]
        found += [f"vision_{job}/{name}" for job in ("data", "tables", "map")]
        found += [f"vision_train/{name}_{one}" for one in labels]
        found += [f"vision_similarity/{name}_{when}" for when in whens(run)]
        for job in image_jobs(run):
            sampling = IMAGE_JOBS[name][job]["sampling"]
            found.append(f"vision_kernel/{name}_{job}")
            found += [
                f"vision_sample/{name}_{job}_{chain}"
                for chain in range(0, sampling.chains, sampling.chain_block)
            ]
        if run.mislabel:
            found += [f"vision_detectors/{name}", f"vision_mislabel/{name}"]
    return [f"<benchmarks>/{one}.tsv" for one in found]


BENCHMARKS += [*image_benchmarks(), "<benchmarks>/vision_timing.tsv"]
NUMBERS += [
    *[IMAGE_RESULT.format(vrun=name) for name in IMAGE_RUNS],
    *[
        f"<results>/vision/{name}/numbers_mislabel.json"
        for name, run in IMAGE_RUNS.items()
        if run.mislabel
    ],
    "<results>/vision/numbers_timing.json",
]


wildcard_constraints:
    vrun="|".join(IMAGE_RUNS),
    vjob="|".join(sorted({job for jobs in IMAGE_JOBS.values() for job in jobs})),
    labels="clean|flipped",
    image_table="|".join([*VISION_TABLES, *MISLABEL_TABLES, "vision_map"]),
    when=r"last|\d+",
