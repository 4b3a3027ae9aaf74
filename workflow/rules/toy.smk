# The toy experiment, in the order of the paper: train, predict, retrain, sample, compare.


# All seeds of one tree as one batch: the checkpoints that everything else reads.
rule toy_train:
    input:
        code=code("stagewise.cli.toy_train"),
    output:
        training=TRAINING,
    log:
        "<logs>/toy_train/{tree}.log",
    benchmark:
        "<benchmarks>/toy_train/{tree}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: settings(**of_tree(w.tree)),
        code=digest("stagewise.cli.toy_train"),
    shell:
        "python -m stagewise.cli.toy_train --settings {params.settings:q}"
        " --out {output.training:q}"
        " > {log:q} 2>&1"


# Mode strengths from three initialisations, against the exact solutions.
rule toy_modes:
    input:
        code=code("stagewise.cli.toy_modes"),
    output:
        modes=MODES,
    log:
        "<logs>/toy_modes/{tree}.log",
    benchmark:
        "<benchmarks>/toy_modes/{tree}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: settings(**of_tree(w.tree), modes=TOY.modes),
        code=digest("stagewise.cli.toy_modes"),
    shell:
        "python -m stagewise.cli.toy_modes --settings {params.settings:q}"
        " --out {output.modes:q}"
        " > {log:q} 2>&1"


# Influence (b): the derivative of the discrete run with respect to an item's loss weight.
rule toy_trajectory:
    input:
        training=TRAINING,
        code=code("stagewise.cli.toy_trajectory"),
    output:
        trajectory=TRAJECTORY,
    log:
        "<logs>/toy_trajectory/{tree}.log",
    benchmark:
        "<benchmarks>/toy_trajectory/{tree}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_tree(w.tree)),
        code=digest("stagewise.cli.toy_trajectory"),
    shell:
        "python -m stagewise.cli.toy_trajectory --settings {params.settings:q}"
        " --training {input.training:q} --out {output.trajectory:q}"
        " > {log:q} 2>&1"


# Influence (c): every item left out once, in every seed.
rule toy_retrain:
    input:
        training=TRAINING,
        code=code("stagewise.cli.toy_retrain"),
    output:
        retrain=RETRAIN,
    log:
        "<logs>/toy_retrain/{tree}.log",
    benchmark:
        "<benchmarks>/toy_retrain/{tree}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_tree(w.tree)),
        code=digest("stagewise.cli.toy_retrain"),
    shell:
        "python -m stagewise.cli.toy_retrain --settings {params.settings:q}"
        " --training {input.training:q} --out {output.retrain:q}"
        " > {log:q} 2>&1"


# The same, the item being left out only during a window of the run.
rule toy_windows:
    input:
        training=TRAINING,
        code=code("stagewise.cli.toy_windows"),
    output:
        windows=WINDOWS,
    log:
        "<logs>/toy_windows/{tree}.log",
    benchmark:
        "<benchmarks>/toy_windows/{tree}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: settings(**of_tree(w.tree), windows=TOY.windows),
        code=digest("stagewise.cli.toy_windows"),
    shell:
        "python -m stagewise.cli.toy_windows --settings {params.settings:q}"
        " --training {input.training:q} --out {output.windows:q}"
        " > {log:q} 2>&1"


# Hidden representations over training in the plane (classical scaling).
rule toy_representations:
    input:
        training=TRAINING,
        code=code("stagewise.cli.toy_representations"),
    output:
        representations=REPRESENTATIONS,
    log:
        "<logs>/toy_representations/{tree}.log",
    benchmark:
        "<benchmarks>/toy_representations/{tree}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: settings(**of_tree(w.tree)),
        code=digest("stagewise.cli.toy_representations"),
    shell:
        "python -m stagewise.cli.toy_representations --settings {params.settings:q}"
        " --training {input.training:q} --out {output.representations:q}"
        " > {log:q} 2>&1"


# What the sampler should find: the exact law of the second-order model at each checkpoint.
rule toy_law:
    input:
        training=TRAINING,
        code=code("stagewise.cli.toy_law"),
    output:
        law=LAW,
    log:
        "<logs>/toy_law/{tree}_{row}.log",
    benchmark:
        "<benchmarks>/toy_law/{tree}_{row}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: settings(**of_row(w.tree, w.row)),
        code=digest("stagewise.cli.toy_law"),
    shell:
        "python -m stagewise.cli.toy_law --settings {params.settings:q}"
        " --training {input.training:q} --out {output.law:q}"
        " > {log:q} 2>&1"


# Influence (a): chains at every checkpoint of one training seed.
rule toy_sample:
    input:
        training=TRAINING,
        code=code("stagewise.cli.toy_sample"),
    output:
        trace=TRACE,
    log:
        "<logs>/toy_sample/{tree}_{row}_seed{seed}.log",
    benchmark:
        "<benchmarks>/toy_sample/{tree}_{row}_seed{seed}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        settings=lambda w: settings(**of_seed(w.tree, w.row, w.seed)),
        scratch=f"{CONFIG.results}/scratch",
        code=digest("stagewise.cli.toy_sample"),
    shell:
        "python -m stagewise.cli.toy_sample --settings {params.settings:q}"
        " --training {input.training:q} --scratch {params.scratch:q} --out {output.trace:q}"
        " > {log:q} 2>&1"


# Traces to scores, with standard errors and the gates of the sampler.
rule toy_estimate:
    input:
        trace=TRACE,
        code=code("stagewise.cli.toy_estimate"),
    output:
        bif=BIF,
    log:
        "<logs>/toy_estimate/{tree}_{row}_seed{seed}.log",
    benchmark:
        "<benchmarks>/toy_estimate/{tree}_{row}_seed{seed}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=20,
    params:
        # R-hat and ESS cost more than the estimates: only the gated row has them.
        settings=lambda w: settings(
            tree=TOY.trees[w.tree],
            diagnostics=TOY.diagnostics if w.row == MAIN else None,
        ),
        code=digest("stagewise.cli.toy_estimate"),
    shell:
        "python -m stagewise.cli.toy_estimate --settings {params.settings:q}"
        " --trace {input.trace:q} --out {output.bif:q}"
        " > {log:q} 2>&1"


# The two-phase mixture: an exact double well, and the same sampler on it.
rule toy_mixture:
    input:
        code=code("stagewise.cli.toy_mixture"),
    output:
        table="<results>/tables/toy_mixture.csv",
        numbers="<results>/toy/numbers_mixture.json",
    log:
        "<logs>/toy_mixture.log",
    benchmark:
        "<benchmarks>/toy_mixture.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(seed=CONFIG.seed, mixture=TOY.mixture),
        code=digest("stagewise.cli.toy_mixture"),
    shell:
        "python -m stagewise.cli.toy_mixture --settings {params.settings:q}"
        " --table {output.table:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
