# Attributors judged by networks that are trained again: truth, scores, and what becomes of both.


rule retraining_train:
    input:
        code=code("stagewise.cli.retraining_train"),
    output:
        checkpoints=RT_CHECKPOINTS,
    log:
        "<logs>/retraining_train/{rproblem}_{labels}.log",
    benchmark:
        "<benchmarks>/retraining_train/{rproblem}_{labels}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(1500),
        runtime=rt_minutes(20),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(labels=w.labels, **of_retraining(w.rproblem)),
        code=digest("stagewise.cli.retraining_train"),
    shell:
        "python -m stagewise.cli.retraining_train --settings {params.settings:q}"
        " --out {output.checkpoints:q}"
        " > {log:q} 2>&1"


# All subsets and seeds of one set; interrupted, it goes on with the subsets that are missing.
rule retraining_targets:
    input:
        checkpoints=rt_start,
        code=code("stagewise.cli.retraining_targets"),
    output:
        targets=RT_TARGETS,
        models=RT_MODELS,
    log:
        "<logs>/retraining_targets/{rproblem}_{rset}.log",
    benchmark:
        "<benchmarks>/retraining_targets/{rproblem}_{rset}.tsv"
    wildcard_constraints:
        rproblem=rt_cut(False),
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(3000),
        runtime=rt_minutes(60),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(set_name=w.rset, **of_retraining(w.rproblem)),
        scratch=f"{CONFIG.results}/scratch",
        checkpoints=lambda w, input: (
            ["--checkpoints", input.checkpoints] if input.checkpoints else []
        ),
        code=digest("stagewise.cli.retraining_targets"),
    shell:
        "python -m stagewise.cli.retraining_targets --settings {params.settings:q}"
        " --scratch {params.scratch:q} {params.checkpoints:q} --out {output.targets:q} --models {output.models:q}"
        " > {log:q} 2>&1"


# Some of its subsets, from one on: a large problem has a job for each such block.
rule retraining_block:
    input:
        checkpoints=rt_start,
        code=code("stagewise.cli.retraining_targets"),
    output:
        targets=RT_BLOCK,
        models=RT_BLOCK_MODELS,
    log:
        "<logs>/retraining_block/{rproblem}_{rset}_{start}.log",
    benchmark:
        "<benchmarks>/retraining_block/{rproblem}_{rset}_{start}.tsv"
    wildcard_constraints:
        rproblem=rt_cut(True),
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(3000),
        runtime=rt_minutes(60),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(**rt_block(w), **of_retraining(w.rproblem)),
        scratch=f"{CONFIG.results}/scratch",
        checkpoints=lambda w, input: (
            ["--checkpoints", input.checkpoints] if input.checkpoints else []
        ),
        code=digest("stagewise.cli.retraining_targets"),
    shell:
        "python -m stagewise.cli.retraining_targets --settings {params.settings:q}"
        " --scratch {params.scratch:q} {params.checkpoints:q} --out {output.targets:q} --models {output.models:q}"
        " > {log:q} 2>&1"


# The blocks of a set are its targets.
rule retraining_join:
    input:
        targets=lambda w: rt_blocks(w, RT_BLOCK),
        models=lambda w: rt_blocks(w, RT_BLOCK_MODELS),
        code=code("stagewise.cli.retraining_join"),
    output:
        targets=RT_TARGETS,
        models=RT_MODELS,
    log:
        "<logs>/retraining_join/{rproblem}_{rset}.log",
    benchmark:
        "<benchmarks>/retraining_join/{rproblem}_{rset}.tsv"
    wildcard_constraints:
        rproblem=rt_cut(True),
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(1500, 8000),
        runtime=10,
    params:
        code=digest("stagewise.cli.retraining_join"),
    shell:
        "python -m stagewise.cli.retraining_join --targets {input.targets:q}"
        " --models {input.models:q} --out {output.targets:q} --out-models {output.models:q}"
        " > {log:q} 2>&1"


# Every setting of one attributor; those from chains have a rule of their own.
rule retraining_attribute:
    input:
        checkpoints=expand(RT_CHECKPOINTS, labels="clean", allow_missing=True),
        code=code("stagewise.cli.retraining_attribute"),
    output:
        scores=expand(RT_SCORES, setting=RT_SETTINGS, allow_missing=True),
    log:
        "<logs>/retraining_attribute/{rproblem}_{method}.log",
    benchmark:
        "<benchmarks>/retraining_attribute/{rproblem}_{method}.tsv"
    wildcard_constraints:
        method="|".join(RT_SCORED),
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(6000),
        runtime=rt_minutes(60),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(method=w.method, **of_retraining(w.rproblem)),
        scratch=f"{CONFIG.results}/scratch",
        code=digest("stagewise.cli.retraining_attribute"),
    shell:
        "python -m stagewise.cli.retraining_attribute --settings {params.settings:q}"
        " --checkpoints {input.checkpoints:q} --scratch {params.scratch:q}"
        " --out {output.scores:q}"
        " > {log:q} 2>&1"


rule retraining_calibrate:
    input:
        checkpoints=expand(RT_CHECKPOINTS, labels="clean", allow_missing=True),
        code=code("stagewise.cli.retraining_calibrate"),
    output:
        calibration=RT_CALIBRATION,
    log:
        "<logs>/retraining_calibrate/{rproblem}.log",
    benchmark:
        "<benchmarks>/retraining_calibrate/{rproblem}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(2500),
        runtime=rt_minutes(30),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(
            sampled=rt_sampled(w.rproblem), **of_retraining(w.rproblem)
        ),
        code=digest("stagewise.cli.retraining_calibrate"),
    shell:
        "python -m stagewise.cli.retraining_calibrate --settings {params.settings:q}"
        " --checkpoints {input.checkpoints:q} --out {output.calibration:q}"
        " > {log:q} 2>&1"


# One setting of the Bayesian influence functions: covariance and correlation of the same chains.
rule retraining_sample:
    input:
        checkpoints=expand(RT_CHECKPOINTS, labels="clean", allow_missing=True),
        calibration=RT_CALIBRATION,
        code=code("stagewise.cli.retraining_sample"),
    output:
        scores=expand(RT_SCORES, method=RT_SAMPLED, allow_missing=True),
    log:
        "<logs>/retraining_sample/{rproblem}_{setting}.log",
    benchmark:
        "<benchmarks>/retraining_sample/{rproblem}_{setting}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(3000),
        runtime=rt_minutes(60),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(
            sampled=rt_sampled(w.rproblem),
            setting=int(w.setting),
            **of_retraining(w.rproblem),
        ),
        scratch=f"{CONFIG.results}/scratch",
        code=digest("stagewise.cli.retraining_sample"),
    shell:
        "python -m stagewise.cli.retraining_sample --settings {params.settings:q}"
        " --checkpoints {input.checkpoints:q} --calibration {input.calibration:q}"
        " --scratch {params.scratch:q} --out {output.scores:q}"
        " > {log:q} 2>&1"


# The setting of each attributor that the tuning subsets choose.
rule retraining_choice:
    input:
        targets=lambda w: rt_tuning(w.rproblem),
        scores=lambda w: rt_scores(w.rproblem, RETRAINED[w.rproblem].methods),
        code=code("stagewise.cli.retraining_choice"),
    output:
        choice=RT_CHOICE,
    log:
        "<logs>/retraining_choice/{rproblem}.log",
    benchmark:
        "<benchmarks>/retraining_choice/{rproblem}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(2000, 16000),
        runtime=rt_minutes(20),
    params:
        settings=lambda w: settings(**of_retraining(w.rproblem)),
        code=digest("stagewise.cli.retraining_choice"),
    shell:
        "python -m stagewise.cli.retraining_choice --settings {params.settings:q}"
        " --targets {input.targets:q} --scores {input.scores:q} --out {output.choice:q}"
        " > {log:q} 2>&1"


# Retraining without what an attributor calls most helpful.
rule retraining_removal:
    input:
        choice=RT_CHOICE,
        scores=lambda w: rt_scores(w.rproblem, RETRAINED[w.rproblem].removal.methods),
        code=code("stagewise.cli.retraining_removal"),
    output:
        targets=RT_REMOVAL,
    log:
        "<logs>/retraining_removal/{rproblem}.log",
    benchmark:
        "<benchmarks>/retraining_removal/{rproblem}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(3000),
        runtime=rt_minutes(60),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(**of_retraining(w.rproblem)),
        scratch=f"{CONFIG.results}/scratch",
        code=digest("stagewise.cli.retraining_removal"),
    shell:
        "python -m stagewise.cli.retraining_removal --settings {params.settings:q}"
        " --choice {input.choice:q} --scores {input.scores:q}"
        " --scratch {params.scratch:q} --out {output.targets:q}"
        " > {log:q} 2>&1"


# How suspicious an attributor finds the label of each training sample, some of them flipped.
rule retraining_mislabel:
    input:
        checkpoints=expand(RT_CHECKPOINTS, labels="flipped", allow_missing=True),
        choice=RT_CHOICE,
        calibration=RT_CALIBRATION,
        code=code("stagewise.cli.retraining_mislabel"),
    output:
        detector=RT_MISLABEL,
    log:
        "<logs>/retraining_mislabel/{rproblem}_{method}.log",
    benchmark:
        "<benchmarks>/retraining_mislabel/{rproblem}_{method}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_memory(6000),
        runtime=rt_minutes(60),
        gpu=rt_gpu,
    params:
        settings=lambda w: settings(
            method=w.method,
            sampled=rt_sampled(w.rproblem),
            **of_retraining(w.rproblem),
        ),
        scratch=f"{CONFIG.results}/scratch",
        code=digest("stagewise.cli.retraining_mislabel"),
    shell:
        "python -m stagewise.cli.retraining_mislabel --settings {params.settings:q}"
        " --checkpoints {input.checkpoints:q} --choice {input.choice:q}"
        " --calibration {input.calibration:q} --scratch {params.scratch:q}"
        " --out {output.detector:q}"
        " > {log:q} 2>&1"


# Every attributor against the same retrainings.
rule retraining_tables:
    input:
        targets=rt_targets(RT_COMPARED),
        scores=rt_all_scores(RT_COMPARED),
        mislabel=rt_mislabelled(),
        code=code("stagewise.cli.retraining_tables"),
    output:
        tables=expand("<results>/tables/{table}.csv", table=RETRAINING_TABLES),
        numbers="<results>/retraining/numbers.json",
    log:
        "<logs>/retraining_tables.log",
    benchmark:
        "<benchmarks>/retraining_tables.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=rt_table_memory,
        runtime=30,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, resamplings=RETRAINING.resamplings
        ),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        mislabel=lambda w, input: (
            ["--mislabel", *input.mislabel] if input.mislabel else []
        ),
        code=digest("stagewise.cli.retraining_tables"),
    shell:
        "python -m stagewise.cli.retraining_tables --settings {params.settings:q}"
        " --targets {input.targets:q} --scores {input.scores:q} {params.mislabel:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# How long the comparison took.
rule retraining_timing:
    input:
        benchmarks=rt_benchmarks(),
        code=code("stagewise.cli.timing"),
    output:
        numbers="<results>/retraining/numbers_timing.json",
    log:
        "<logs>/retraining_timing.log",
    benchmark:
        "<benchmarks>/retraining_timing.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.timing"),
    shell:
        "python -m stagewise.cli.timing --name retraining --benchmarks {input.benchmarks:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
