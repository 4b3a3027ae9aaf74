# Settings chosen by measurement, held against exact influences, runs by hand, and (make studies)
# sweeps by hand. One checkpoint a problem.


rule problem_train:
    input:
        code=code("stagewise.cli.problem_train"),
    output:
        checkpoint=CHECKPOINT,
    log:
        "<logs>/problem_train/{problem}.log",
    benchmark:
        "<benchmarks>/problem_train/{problem}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        settings=lambda w: settings(**of_problem(w.problem)),
        code=digest("stagewise.cli.problem_train"),
    shell:
        "python -m stagewise.cli.problem_train --settings {params.settings:q}"
        " --out {output.checkpoint:q}"
        " > {log:q} 2>&1"


rule problem_exact:
    input:
        checkpoint=CHECKPOINT,
        code=code("stagewise.cli.problem_exact"),
    output:
        scores=EXACT,
    log:
        "<logs>/problem_exact/{problem}.log",
    benchmark:
        "<benchmarks>/problem_exact/{problem}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=lambda w: settings(**of_problem(w.problem)),
        code=digest("stagewise.cli.problem_exact"),
    shell:
        "python -m stagewise.cli.problem_exact --settings {params.settings:q}"
        " --checkpoint {input.checkpoint:q} --out {output.scores:q}"
        " > {log:q} 2>&1"


# The pilots and the choice that they lead to; its costs are measured, so that its length of chains
# is this machine's.
rule problem_calibrate:
    input:
        checkpoint=CHECKPOINT,
        code=code("stagewise.cli.problem_calibrate"),
    output:
        calibration=CHOICE,
    log:
        "<logs>/problem_calibrate/{problem}.log",
    benchmark:
        "<benchmarks>/problem_calibrate/{problem}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda w: settings(
            goal=CALIBRATION.goal,
            chains=CALIBRATION.rows[w.problem]["calibrated"].chains,
            **of_problem(w.problem),
        ),
        code=digest("stagewise.cli.problem_calibrate"),
    shell:
        "python -m stagewise.cli.problem_calibrate --settings {params.settings:q}"
        " --checkpoint {input.checkpoint:q} --out {output.calibration:q}"
        " > {log:q} 2>&1"


rule problem_sample:
    input:
        checkpoint=CHECKPOINT,
        exact=EXACT,
        calibration=lambda w: choice_of(w.problem, w.run),
        code=code("stagewise.cli.problem_sample"),
    output:
        scores=RUN,
    log:
        "<logs>/problem_sample/{problem}_{run}.log",
    benchmark:
        "<benchmarks>/problem_sample/{problem}_{run}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        settings=lambda w: settings(
            row_name=w.run, row=RUNS[w.problem][w.run], **of_problem(w.problem)
        ),
        scratch=f"{CONFIG.results}/scratch",
        calibration=lambda w, input: (
            ["--calibration", *input.calibration] if input.calibration else []
        ),
        code=digest("stagewise.cli.problem_sample"),
    shell:
        "python -m stagewise.cli.problem_sample --settings {params.settings:q}"
        " --checkpoint {input.checkpoint:q} --exact {input.exact:q}"
        " {params.calibration:q}"
        " --scratch {params.scratch:q} --out {output.scores:q}"
        " > {log:q} 2>&1"


rule problem_table:
    input:
        rows=ROW_RUNS,
        calibrations=expand(CHOICE, problem=CALIBRATION.problems),
        exact=expand(EXACT, problem=CALIBRATION.problems),
        code=code("stagewise.cli.problem_table"),
    output:
        table="<results>/tables/calibration_rows.csv",
        search="<results>/tables/calibration_search.csv",
        numbers="<results>/calibration/numbers.json",
    log:
        "<logs>/problem_table.log",
    benchmark:
        "<benchmarks>/problem_table.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: settings(
            problems=list(CALIBRATION.problems),
            diagnostics=CALIBRATION.diagnostics,
            estimators=CALIBRATION.estimators,
        ),
        search=lambda w, output: ["--search", output.search],
        code=digest("stagewise.cli.problem_table"),
    shell:
        "python -m stagewise.cli.problem_table --settings {params.settings:q}"
        " --rows {input.rows:q} --calibrations {input.calibrations:q}"
        " --exact {input.exact:q} --table {output.table:q} {params.search:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


use rule problem_table as problem_grid_study with:
    input:
        rows=GRID_RUNS,
        calibrations=expand(CHOICE, problem=CALIBRATION.problems),
        exact=expand(EXACT, problem=CALIBRATION.problems),
        code=code("stagewise.cli.problem_table"),
    output:
        table="<results>/studies/tables/calibration_grid.csv",
        numbers="<results>/studies/numbers_calibration_grid.json",
    log:
        "<logs>/problem_grid_study.log",
    benchmark:
        "<benchmarks>/problem_grid_study.tsv"
    params:
        settings=lambda w: settings(
            problems=list(CALIBRATION.problems),
            diagnostics=CALIBRATION.diagnostics,
            estimators=CALIBRATION.estimators,
            grids={name: grid.problem for name, grid in CALIBRATION.grids.items()},
        ),
        search=lambda w, output: [],
        code=digest("stagewise.cli.problem_table"),
