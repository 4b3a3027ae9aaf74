# The loss kernel of two tasks that share a part of their parameters.


# Every shared fraction and seed as one batch.
rule multitask_train:
    input:
        code=code("stagewise.cli.multitask_train"),
    output:
        training=MT_TRAINING,
    log:
        "<logs>/multitask_train.log",
    benchmark:
        "<benchmarks>/multitask_train.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed,
            data=MULTITASK.data,
            training=MULTITASK.training,
            seeds=MULTITASK.seeds,
        ),
        code=digest("stagewise.cli.multitask_train"),
    shell:
        "python -m stagewise.cli.multitask_train --settings {params.settings:q}"
        " --out {output.training:q}"
        " > {log:q} 2>&1"


# A block of seeds of one row: all shared fractions, or the regressions.
rule multitask_sample:
    input:
        training=MT_TRAINING,
        code=code("stagewise.cli.multitask_sample"),
    output:
        trace=MT_TRACE,
    log:
        "<logs>/multitask_sample/{mt_row}_{mt_first}.log",
    benchmark:
        "<benchmarks>/multitask_sample/{mt_row}_{mt_first}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        settings=lambda w: settings(**of_two_tasks(w)),
        folder=f"{CONFIG.results}/multitask/scratch",
        code=digest("stagewise.cli.multitask_sample"),
    shell:
        "python -m stagewise.cli.multitask_sample --settings {params.settings:q}"
        " --training {input.training:q} --scratch {params.folder:q} --out {output.trace:q}"
        " > {log:q} 2>&1"


rule multitask_kernel:
    input:
        trace=MT_TRACE,
        code=code("stagewise.cli.multitask_kernel"),
    output:
        kernel=MT_KERNEL,
    log:
        "<logs>/multitask_kernel/{mt_row}_{mt_first}.log",
    benchmark:
        "<benchmarks>/multitask_kernel/{mt_row}_{mt_first}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_two_tasks(w)),
        code=digest("stagewise.cli.multitask_kernel"),
    shell:
        "python -m stagewise.cli.multitask_kernel --settings {params.settings:q}"
        " --trace {input.trace:q} --out {output.kernel:q}"
        " > {log:q} 2>&1"


# All rows and seeds together: tables, gates, numbers.
rule multitask_tables:
    input:
        training=MT_TRAINING,
        kernels=[MT_KERNEL.format(**job) for job in mt_jobs()],
        code=code("stagewise.cli.multitask_tables"),
    output:
        tables=expand("<results>/tables/{table}.csv", table=MULTITASK_TABLES),
        numbers=f"{MT_FOLDER}/numbers.json",
    log:
        "<logs>/multitask_tables.log",
    benchmark:
        "<benchmarks>/multitask_tables.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=lambda w: settings(
            main=MULTITASK.main,
            exact=MULTITASK.exact,
            coupling=MULTITASK.coupling,
            diagnostics=MULTITASK.diagnostics,
        ),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.multitask_tables"),
    shell:
        "python -m stagewise.cli.multitask_tables --settings {params.settings:q}"
        " --training {input.training:q} --kernels {input.kernels:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# How long all of this took.
rule multitask_timing:
    input:
        benchmarks=multitask_benchmarks(),
        code=code("stagewise.cli.timing"),
    output:
        numbers=f"{MT_FOLDER}/numbers_timing.json",
    log:
        "<logs>/multitask_timing.log",
    benchmark:
        "<benchmarks>/multitask_timing.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.timing"),
    shell:
        "python -m stagewise.cli.timing --name multitask --benchmarks {input.benchmarks:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
