# Language models: their stages, influence between classes of tokens, and an intervention.


rule language_corpus:
    input:
        code=code("stagewise.cli.language_corpus"),
    output:
        corpus=CORPUS,
    log:
        "<logs>/language_corpus/{lm}.log",
    benchmark:
        "<benchmarks>/language_corpus/{lm}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, name=w.lm, source=LANGUAGE_RUNS[w.lm].source
        ),
        code=digest("stagewise.cli.language_corpus"),
    shell:
        "python -m stagewise.cli.language_corpus --settings {params.settings:q}"
        " --out {output.corpus:q}"
        " > {log:q} 2>&1"


# Trains one seed; with a pretrained network it measures the public checkpoints.
rule language_train:
    input:
        corpus=CORPUS,
        code=code("stagewise.cli.language_train"),
    output:
        training=LM_TRAINING,
    log:
        "<logs>/language_train/{lm}_{run_seed}.log",
    benchmark:
        "<benchmarks>/language_train/{lm}_{run_seed}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=lm_memory,
        runtime=lm_minutes,
        gpu=lm_gpu,
    params:
        settings=lambda w: settings(**of_training(w)),
        folder=f"{CONFIG.results}/language/scratch",
        code=digest("stagewise.cli.language_train"),
    shell:
        "python -m stagewise.cli.language_train --settings {params.settings:q}"
        " --corpus {input.corpus:q} --scratch {params.folder:q} --out {output.training:q}"
        " > {log:q} 2>&1"


# Change points of all seeds of a run, without any influence.
rule language_stages:
    input:
        corpus=CORPUS,
        training=lambda w: trained(w.lm, measured_seeds(w.lm)),
        code=code("stagewise.cli.language_stages"),
    output:
        stages=LM_STAGES,
        table=LM_MEASURES,
    log:
        "<logs>/language_stages/{lm}.log",
    benchmark:
        "<benchmarks>/language_stages/{lm}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, name=w.lm, bootstrap=LANGUAGE.bootstrap
        ),
        code=digest("stagewise.cli.language_stages"),
    shell:
        "python -m stagewise.cli.language_stages --settings {params.settings:q}"
        " --corpus {input.corpus:q} --training {input.training:q} --out {output.stages:q}"
        " --table {output.table:q}"
        " > {log:q} 2>&1"


# A block of chains at a block of checkpoints.
rule language_sample:
    input:
        corpus=CORPUS,
        training=LM_TRAINING,
        code=code("stagewise.cli.language_sample"),
    output:
        trace=LM_TRACE,
        prior=LM_PRIOR,
    log:
        "<logs>/language_sample/{lm}_{run_seed}_{first}_{chain}.log",
    benchmark:
        "<benchmarks>/language_sample/{lm}_{run_seed}_{first}_{chain}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=lm_memory,
        runtime=lm_minutes,
        gpu=lm_gpu,
    params:
        settings=lambda w: settings(
            **of_sampling(w, block_steps(w.lm, w.run_seed, w.first), w.chain)
        ),
        folder=f"{CONFIG.results}/language/scratch",
        code=digest("stagewise.cli.language_sample"),
    shell:
        "python -m stagewise.cli.language_sample --settings {params.settings:q}"
        " --corpus {input.corpus:q} --training {input.training:q} --scratch {params.folder:q}"
        " --out {output.trace:q} --prior {output.prior:q}"
        " > {log:q} 2>&1"


rule language_gradients:
    input:
        corpus=CORPUS,
        training=LM_TRAINING,
        code=code("stagewise.cli.language_gradients"),
    output:
        products=LM_GRADIENTS,
    log:
        "<logs>/language_gradients/{lm}_{run_seed}.log",
    benchmark:
        "<benchmarks>/language_gradients/{lm}_{run_seed}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=lm_memory,
        runtime=lm_minutes,
        gpu=lm_gpu,
    params:
        settings=lambda w: settings(**of_gradients(w)),
        code=digest("stagewise.cli.language_gradients"),
    shell:
        "python -m stagewise.cli.language_gradients --settings {params.settings:q}"
        " --corpus {input.corpus:q} --training {input.training:q} --out {output.products:q}"
        " > {log:q} 2>&1"


# Influence between classes of tokens along one seed's training.
rule language_influence:
    input:
        corpus=CORPUS,
        traces=lambda w: [
            LM_TRACE.format(**block) for block in lm_blocks(w.lm, int(w.run_seed))
        ],
        priors=lambda w: [
            LM_PRIOR.format(**block) for block in lm_blocks(w.lm, int(w.run_seed))
        ],
        gradients=LM_GRADIENTS,
        code=code("stagewise.cli.language_influence"),
    output:
        influence=LM_INFLUENCE,
    log:
        "<logs>/language_influence/{lm}_{run_seed}.log",
    benchmark:
        "<benchmarks>/language_influence/{lm}_{run_seed}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=lm_influence_memory,
        runtime=lm_minutes,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed,
            name=w.lm,
            run_seed=int(w.run_seed),
            bootstrap=LANGUAGE.bootstrap,
            diagnostics=LANGUAGE.diagnostics,
        ),
        code=digest("stagewise.cli.language_influence"),
    shell:
        "python -m stagewise.cli.language_influence --settings {params.settings:q}"
        " --corpus {input.corpus:q} --traces {input.traces:q} --priors {input.priors:q}"
        " --gradients {input.gradients:q} --out {output.influence:q}"
        " > {log:q} 2>&1"


# All runs and seeds together: tables, claims, numbers.
rule language_tables:
    input:
        stages=[LM_STAGES.format(lm=lm) for lm in LANGUAGE_RUNS],
        measures=[LM_MEASURES.format(lm=lm) for lm in LANGUAGE_RUNS],
        influence=[
            LM_INFLUENCE.format(lm=lm, run_seed=seed)
            for lm, run in LANGUAGE_RUNS.items()
            for seed in run.grids
        ],
        code=code("stagewise.cli.language_tables"),
    output:
        tables=expand("<results>/tables/{table}.csv", table=LANGUAGE_TABLES),
        numbers="<results>/language/numbers.json",
    log:
        "<logs>/language_tables.log",
    benchmark:
        "<benchmarks>/language_tables.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, main=LANGUAGE.main, bootstrap=LANGUAGE.bootstrap
        ),
        folder=lambda w, output: os.path.dirname(output.tables[0]),
        code=digest("stagewise.cli.language_tables"),
    shell:
        "python -m stagewise.cli.language_tables --settings {params.settings:q}"
        " --stages {input.stages:q} --influence {input.influence:q} --measures {input.measures:q}"
        " --tables {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# One arm of the intervention on one seed; its windows are laid around the pilot's transition.
rule language_branch:
    input:
        corpus=CORPUS,
        training=LM_TRAINING,
        stages=LM_STAGES,
        code=code("stagewise.cli.language_branch"),
    output:
        branch=LM_BRANCH,
    log:
        "<logs>/language_branch/{lm}_{run_seed}_{arm}.log",
    benchmark:
        "<benchmarks>/language_branch/{lm}_{run_seed}_{arm}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        settings=lambda w: settings(**of_branch(w)),
        code=digest("stagewise.cli.language_branch"),
    shell:
        "python -m stagewise.cli.language_branch --settings {params.settings:q}"
        " --corpus {input.corpus:q} --training {input.training:q} --stages {input.stages:q}"
        " --out {output.branch:q}"
        " > {log:q} 2>&1"


if INTERVENTION is not None:

    # How much sooner each arm's outcome comes than in the training that was left alone.
    rule language_branch_table:
        input:
            branches=branches(study=False),
            training=trained(
                INTERVENTION.run, branch_seeds(INTERVENTION.run, study=False)
            ),
            code=code("stagewise.cli.language_branch_table"),
        output:
            table="<results>/tables/language_branches.csv",
            numbers="<results>/language/numbers_intervention.json",
        log:
            "<logs>/language_branch_table.log",
        benchmark:
            "<benchmarks>/language_branch_table.tsv"
        conda:
            "../envs/stagewise.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=20,
        params:
            settings=lambda w: settings(**of_branch_table(study=False)),
            code=digest("stagewise.cli.language_branch_table"),
        shell:
            "python -m stagewise.cli.language_branch_table --settings {params.settings:q}"
            " --branches {input.branches:q} --training {input.training:q}"
            " --table {output.table:q} --numbers {output.numbers:q}"
            " > {log:q} 2>&1"


# How long the language experiments took.
rule language_timing:
    input:
        benchmarks=language_benchmarks(),
        code=code("stagewise.cli.timing"),
    output:
        numbers="<results>/language/numbers_timing.json",
    log:
        "<logs>/language_timing.log",
    benchmark:
        "<benchmarks>/language_timing.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.timing"),
    shell:
        "python -m stagewise.cli.timing --name language --benchmarks {input.benchmarks:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
