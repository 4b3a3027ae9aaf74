# The studies of retraining (`make studies`): the Bayesian influence's score by settings of the
# sampler, every method's by seconds, and problems that the default run leaves out.


# Some sampling runs of the study, one after another; interrupted, it goes on where it was.
rule retraining_sensitivity:
    input:
        checkpoints=of_study(RT_CHECKPOINTS),
        calibration=of_study(RT_CALIBRATION),
        targets=of_study(RT_TARGETS),
        code=code("stagewise.cli.retraining_sensitivity"),
    output:
        predictions=SENSITIVITY_BLOCK,
    log:
        "<logs>/retraining_sensitivity/{cell}.log",
    benchmark:
        "<benchmarks>/retraining_sensitivity/{cell}.tsv"
    wildcard_constraints:
        cell=r"\d{3}",
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        settings=lambda w: settings(
            sampled=rt_sampled(SENSITIVITY.problem),
            by_hand=SENSITIVITY.by_hand,
            cells=cells_from(int(w.cell)),
            **of_retraining(SENSITIVITY.problem),
        ),
        scratch=f"{CONFIG.results}/scratch",
        code=digest("stagewise.cli.retraining_sensitivity"),
    shell:
        "python -m stagewise.cli.retraining_sensitivity --settings {params.settings:q}"
        " --checkpoints {input.checkpoints:q} --calibration {input.calibration:q}"
        " --targets {input.targets:q} --scratch {params.scratch:q} --out {output.predictions:q}"
        " > {log:q} 2>&1"


# All cells on the same retrainings, beside what every method costs.
rule retraining_sensitivity_table:
    input:
        predictions=expand(SENSITIVITY_BLOCK, cell=SENSITIVITY_FIRST),
        targets=of_study(RT_TARGETS),
        cost="<results>/tables/retraining_cost.csv",
        exact=rt_scores(SENSITIVITY.problem, ["exact_hessian", "exact_ggn"]),
        code=code("stagewise.cli.retraining_sensitivity_table"),
    output:
        table="<results>/studies/tables/retraining_sensitivity.csv",
        differences="<results>/studies/tables/retraining_sensitivity_difference.csv",
        speed="<results>/studies/tables/retraining_speed.csv",
        gap="<results>/studies/tables/retraining_gap.csv",
        numbers="<results>/studies/retraining/numbers_sensitivity.json",
    log:
        "<logs>/retraining_sensitivity_table.log",
    benchmark:
        "<benchmarks>/retraining_sensitivity_table.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed,
            problem=SENSITIVITY.problem,
            steps=SENSITIVITY_STEPS,
            cells=SENSITIVITY_CELLS,
            resamplings=RETRAINING.resamplings,
        ),
        code=digest("stagewise.cli.retraining_sensitivity_table"),
    shell:
        "python -m stagewise.cli.retraining_sensitivity_table --settings {params.settings:q}"
        " --predictions {input.predictions:q} --targets {input.targets:q} --cost {input.cost:q}"
        " --exact {input.exact:q} --gap {output.gap:q}"
        " --table {output.table:q} --differences {output.differences:q} --speed {output.speed:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# What the default run leaves out: the same attributors against retraining, in a table of its own.
if STUDIED_PROBLEMS:

    use rule retraining_tables as retraining_study_tables with:
        input:
            targets=rt_targets(STUDIED_PROBLEMS),
            scores=rt_all_scores(STUDIED_PROBLEMS),
            code=code("stagewise.cli.retraining_tables"),
        output:
            tables=expand(
                "<results>/studies/retraining/{table}.csv", table=RETRAINING_TABLES
            ),
            numbers="<results>/studies/retraining/numbers_problems.json",
        log:
            "<logs>/retraining_study_tables.log",
        benchmark:
            "<benchmarks>/retraining_study_tables.tsv"
        params:
            settings=lambda w: settings(
                seed=CONFIG.seed, resamplings=RETRAINING.resamplings, study=True
            ),
            folder=lambda w, output: os.path.dirname(output.tables[0]),
            mislabel=[],
            code=digest("stagewise.cli.retraining_tables"),
