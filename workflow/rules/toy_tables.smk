# Tables and numbers of the toy experiment, from the files that its jobs leave.


# The three influences on one time axis, at the main sampling row.
rule toy_tables:
    input:
        training=by_tree(TRAINING),
        trajectory=by_tree(TRAJECTORY),
        retrain=by_tree(RETRAIN),
        windows=by_tree(WINDOWS),
        law=laws([MAIN]),
        bif=sampled(BIF, [MAIN]),
        code=code("stagewise.cli.toy_tables"),
    output:
        tables=table_files("influence", "pairs", "transitions", "flips", "windows"),
        numbers="<results>/toy/numbers_tables.json",
    log:
        "<logs>/toy_tables.log",
    benchmark:
        "<benchmarks>/toy_tables.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_rows([MAIN])),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.toy_tables"),
    shell:
        "python -m stagewise.cli.toy_tables --settings {params.settings:q}"
        " --training {input.training:q} --trajectory {input.trajectory:q}"
        " --retrain {input.retrain:q} --windows {input.windows:q}"
        " --law {input.law:q} --bif {input.bif:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# The gates: a main trace that fails one stops the paper, which would rest on it.
rule toy_diagnostics:
    input:
        law=laws([MAIN]),
        bif=sampled(BIF, [MAIN]),
        code=code("stagewise.cli.toy_diagnostics"),
    output:
        table="<results>/tables/toy_diagnostics.csv",
        numbers="<results>/toy/numbers_diagnostics.json",
    log:
        "<logs>/toy_diagnostics.log",
    benchmark:
        "<benchmarks>/toy_diagnostics.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(diagnostics=TOY.diagnostics),
        code=digest("stagewise.cli.toy_diagnostics"),
    shell:
        "python -m stagewise.cli.toy_diagnostics --settings {params.settings:q}"
        " --law {input.law:q} --bif {input.bif:q}"
        " --table {output.table:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# Every sampling row against its own law: what remains is noise, or is explained.
rule toy_agreement:
    input:
        law=laws(COMPARED),
        bif=sampled(BIF, COMPARED),
        code=code("stagewise.cli.toy_agreement"),
    output:
        tables=table_files("agreement", "z"),
        numbers="<results>/toy/numbers_agreement.json",
    log:
        "<logs>/toy_agreement.log",
    benchmark:
        "<benchmarks>/toy_agreement.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_rows(COMPARED)),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.toy_agreement"),
    shell:
        "python -m stagewise.cli.toy_agreement --settings {params.settings:q}"
        " --law {input.law:q} --bif {input.bif:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# Two runs on the second-order model that differ by their random numbers alone.
rule toy_streams:
    input:
        law=LAW.format(tree="balanced", row="quadratic"),
        bif=[
            BIF.format(tree="balanced", row=row, seed=TOY.sampling[row].seeds[0])
            for row in ("quadratic", STREAMS)
        ],
        code=code("stagewise.cli.toy_streams"),
    output:
        numbers="<results>/toy/numbers_streams.json",
    log:
        "<logs>/toy_streams.log",
    benchmark:
        "<benchmarks>/toy_streams.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.toy_streams"),
    shell:
        "python -m stagewise.cli.toy_streams --law {input.law:q} --bif {input.bif:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# Sensitivity to the sampler's settings: a corner of the grid here, the whole of it in studies.
rule toy_sweep_table:
    input:
        **of_sweep("corner"),
        code=code("stagewise.cli.toy_sweep_table"),
    output:
        table="<results>/tables/toy_sweep.csv",
        numbers="<results>/toy/numbers_sweep.json",
    log:
        "<logs>/toy_sweep_table.log",
    benchmark:
        "<benchmarks>/toy_sweep_table.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        name="corner",
        settings=lambda w: settings(**of_rows(sweep_rows("corner"))),
        code=digest("stagewise.cli.toy_sweep_table"),
    shell:
        "python -m stagewise.cli.toy_sweep_table --settings {params.settings:q}"
        " --name {params.name:q} --trajectory {input.trajectory:q} --retrain {input.retrain:q}"
        " --law {input.law:q} --bif {input.bif:q}"
        " --table {output.table:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# Modes and representations as tables, and how exact the runs and their derivatives are.
rule toy_run_tables:
    input:
        modes=by_tree(MODES),
        trajectory=by_tree(TRAJECTORY),
        representations=by_tree(REPRESENTATIONS),
        code=code("stagewise.cli.toy_run_tables"),
    output:
        tables=table_files("modes", "mds"),
        numbers="<results>/toy/numbers_runs.json",
    log:
        "<logs>/toy_run_tables.log",
    benchmark:
        "<benchmarks>/toy_run_tables.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.toy_run_tables"),
    shell:
        "python -m stagewise.cli.toy_run_tables"
        " --modes {input.modes:q} --trajectory {input.trajectory:q}"
        " --representations {input.representations:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# Chain steps a second at the main row: it claims all cores, so that nothing runs beside it.
rule toy_throughput:
    input:
        training=TRAINING.format(tree=next(iter(TOY.trees))),
        code=code("stagewise.cli.toy_throughput"),
    output:
        numbers="<results>/toy/numbers_throughput.json",
    log:
        "<logs>/toy_throughput.log",
    benchmark:
        "<benchmarks>/toy_throughput.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: CORES
    resources:
        mem_mb=6000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_seed(next(iter(TOY.trees)), MAIN, 0)),
        code=digest("stagewise.cli.toy_throughput"),
    shell:
        "python -m stagewise.cli.toy_throughput --settings {params.settings:q}"
        " --training {input.training:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# How long all of this took, from the benchmark files of the jobs above.
rule toy_timing:
    input:
        benchmarks=toy_benchmarks(),
        code=code("stagewise.cli.timing"),
    output:
        numbers="<results>/toy/numbers_timing.json",
    log:
        "<logs>/toy_timing.log",
    benchmark:
        "<benchmarks>/toy_timing.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.timing"),
    shell:
        "python -m stagewise.cli.timing --name toy --benchmarks {input.benchmarks:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
