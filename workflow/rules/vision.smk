# The loss kernel of an image network: what it has learned about a taxonomy that it was not given.


rule vision_data:
    input:
        code=code("stagewise.cli.vision_data"),
    output:
        images=IMAGES,
        taxonomy=IMAGE_TREE,
    log:
        "<logs>/vision_data/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_data/{vrun}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed,
            source=IMAGE_RUNS[w.vrun].source,
            recorded=IMAGE_RUNS[w.vrun].recorded,
        ),
        code=digest("stagewise.cli.vision_data"),
    shell:
        "python -m stagewise.cli.vision_data --settings {params.settings:q}"
        " --images {output.images:q} --items {output.taxonomy:q}"
        " > {log:q} 2>&1"


rule vision_train:
    input:
        images=IMAGES,
        code=code("stagewise.cli.vision_train"),
    output:
        training=IMAGE_TRAINING,
    log:
        "<logs>/vision_train/{vrun}_{labels}.log",
    benchmark:
        "<benchmarks>/vision_train/{vrun}_{labels}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_memory,
        runtime=image_minutes,
        gpu=image_gpu,
    params:
        settings=lambda w: settings(**of_image_training(w)),
        folder=f"{CONFIG.results}/vision/scratch",
        code=digest("stagewise.cli.vision_train"),
    shell:
        "python -m stagewise.cli.vision_train --settings {params.settings:q}"
        " --images {input.images:q} --scratch {params.folder:q} --out {output.training:q}"
        " > {log:q} 2>&1"


# One block of chains about one checkpoint.
rule vision_sample:
    input:
        images=IMAGES,
        training=labels_of_job,
        code=code("stagewise.cli.vision_sample"),
    output:
        trace=IMAGE_TRACE,
    log:
        "<logs>/vision_sample/{vrun}_{vjob}_{chain}.log",
    benchmark:
        "<benchmarks>/vision_sample/{vrun}_{vjob}_{chain}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_memory,
        runtime=image_minutes,
        gpu=image_gpu,
    params:
        settings=lambda w: settings(**of_image_job(w)),
        folder=f"{CONFIG.results}/vision/scratch",
        code=digest("stagewise.cli.vision_sample"),
    shell:
        "python -m stagewise.cli.vision_sample --settings {params.settings:q}"
        " --images {input.images:q} --training {input.training:q} --scratch {params.folder:q}"
        " --out {output.trace:q}"
        " > {log:q} 2>&1"


rule vision_kernel:
    input:
        traces=lambda w: image_blocks(w.vrun, w.vjob),
        code=code("stagewise.cli.vision_kernel"),
    output:
        kernel=IMAGE_KERNEL,
    log:
        "<logs>/vision_kernel/{vrun}_{vjob}.log",
    benchmark:
        "<benchmarks>/vision_kernel/{vrun}_{vjob}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_table_memory,
        runtime=image_minutes,
    params:
        settings=lambda w: settings(name=w.vjob, diagnostics=VISION.diagnostics),
        code=digest("stagewise.cli.vision_kernel"),
    shell:
        "python -m stagewise.cli.vision_kernel --settings {params.settings:q}"
        " --traces {input.traces:q} --out {output.kernel:q}"
        " > {log:q} 2>&1"


# What else images could be compared by, at one checkpoint.
rule vision_similarity:
    input:
        images=IMAGES,
        training=lambda w: IMAGE_TRAINING.format(vrun=w.vrun, labels="clean"),
        code=code("stagewise.cli.vision_similarity"),
    output:
        similarity=IMAGE_SIMILARITY,
    log:
        "<logs>/vision_similarity/{vrun}_{when}.log",
    benchmark:
        "<benchmarks>/vision_similarity/{vrun}_{when}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_memory,
        runtime=image_minutes,
        gpu=image_gpu,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, step=None if w.when == "last" else int(w.when)
        ),
        code=digest("stagewise.cli.vision_similarity"),
    shell:
        "python -m stagewise.cli.vision_similarity --settings {params.settings:q}"
        " --images {input.images:q} --training {input.training:q} --out {output.similarity:q}"
        " > {log:q} 2>&1"


# The tables of one run: everything but the map.
rule vision_tables:
    input:
        unpack(lambda w: of_image_tables(w.vrun)),
        code=code("stagewise.cli.vision_tables"),
    output:
        tables=expand(
            f"{IMAGES_FOLDER}/tables/{{table}}.csv",
            table=VISION_TABLES,
            allow_missing=True,
        ),
        numbers=IMAGE_RESULT,
    log:
        "<logs>/vision_tables/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_tables/{vrun}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_table_memory,
        runtime=image_minutes,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed,
            run=w.vrun,
            main=w.vrun == VISION.main,
            permutations=VISION.permutations,
        ),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.vision_tables"),
    shell:
        "python -m stagewise.cli.vision_tables --settings {params.settings:q}"
        " --images {input.images:q} --items {input.taxonomy:q} --training {input.training:q}"
        " --kernels {input.kernels:q} --similarities {input.similarities:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


rule vision_map:
    input:
        unpack(lambda w: of_image_map(w.vrun)),
        code=code("stagewise.cli.vision_map"),
    output:
        table=f"{IMAGES_FOLDER}/tables/vision_map.csv",
    log:
        "<logs>/vision_map/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_map/{vrun}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_table_memory,
        runtime=image_minutes,
    params:
        settings=lambda w: settings(seed=CONFIG.seed, neighbours=VISION.map_neighbours),
        code=digest("stagewise.cli.vision_map"),
    shell:
        "python -m stagewise.cli.vision_map --settings {params.settings:q}"
        " --images {input.images:q} --items {input.taxonomy:q}"
        " --kernels {input.kernels:q} --similarities {input.similarities:q}"
        " --table {output.table:q}"
        " > {log:q} 2>&1"


# What could find flipped labels without sampling, and EK-FAC's influence.
rule vision_detectors:
    input:
        images=IMAGES,
        training=lambda w: IMAGE_TRAINING.format(vrun=w.vrun, labels="flipped"),
        code=code("stagewise.cli.vision_detectors"),
    output:
        detectors=IMAGE_DETECTORS,
    log:
        "<logs>/vision_detectors/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_detectors/{vrun}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, mislabel=IMAGE_RUNS[w.vrun].mislabel
        ),
        folder=f"{CONFIG.results}/vision/scratch",
        code=digest("stagewise.cli.vision_detectors"),
    shell:
        "python -m stagewise.cli.vision_detectors --settings {params.settings:q}"
        " --images {input.images:q} --training {input.training:q} --scratch {params.folder:q}"
        " --out {output.detectors:q}"
        " > {log:q} 2>&1"


rule vision_mislabel:
    input:
        images=IMAGES,
        kernel=lambda w: IMAGE_KERNEL.format(vrun=w.vrun, vjob="judged"),
        traces=lambda w: image_blocks(w.vrun, "judged"),
        detectors=IMAGE_DETECTORS,
        code=code("stagewise.cli.vision_mislabel"),
    output:
        tables=expand(
            f"{IMAGES_FOLDER}/tables/{{table}}.csv",
            table=MISLABEL_TABLES,
            allow_missing=True,
        ),
        numbers=f"{IMAGES_FOLDER}/numbers_mislabel.json",
    log:
        "<logs>/vision_mislabel/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_mislabel/{vrun}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed,
            run=w.vrun,
            main=w.vrun == VISION.main,
            neighbours=IMAGE_RUNS[w.vrun].mislabel.neighbours,
        ),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.vision_mislabel"),
    shell:
        "python -m stagewise.cli.vision_mislabel --settings {params.settings:q}"
        " --images {input.images:q} --kernel {input.kernel:q} --traces {input.traces:q}"
        " --detected {input.detectors:q} --tables {params.folder:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# The tables of all runs, one under another, where the figures look for them.
rule vision_join:
    input:
        tables=lambda w: [
            f"{IMAGES_FOLDER}/tables/{w.image_table}.csv".format(vrun=name)
            for name in image_runs_with(w.image_table)
        ],
        code=code("stagewise.cli.vision_join"),
    output:
        table="<results>/tables/{image_table}.csv",
    log:
        "<logs>/vision_join/{image_table}.log",
    benchmark:
        "<benchmarks>/vision_join/{image_table}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: settings(runs=image_runs_with(w.image_table)),
        code=digest("stagewise.cli.vision_join"),
    shell:
        "python -m stagewise.cli.vision_join --settings {params.settings:q}"
        " --tables {input.tables:q} --out {output.table:q}"
        " > {log:q} 2>&1"


# How long the loss kernels of images took.
rule vision_timing:
    input:
        benchmarks=image_benchmarks(),
        code=code("stagewise.cli.timing"),
    output:
        numbers="<results>/vision/numbers_timing.json",
    log:
        "<logs>/vision_timing.log",
    benchmark:
        "<benchmarks>/vision_timing.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.timing"),
    shell:
        "python -m stagewise.cli.timing --name vision --benchmarks {input.benchmarks:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
