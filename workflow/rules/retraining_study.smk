# The studies of retraining (`make studies`): the Bayesian influence's score by settings of the
# sampler, every method's by seconds, and problems that the default run leaves out.
from stagewise.config.retraining_study import cells as sensitivity_cells

SENSITIVITY = RETRAINING.sensitivity
SENSITIVITY_STEPS = list(RETRAINED[SENSITIVITY.problem].recipe.checkpoints)
SENSITIVITY_CELLS = sensitivity_cells(SENSITIVITY, len(SENSITIVITY_STEPS))
SENSITIVITY_TABLES = ["retraining_sensitivity", "retraining_speed"]


def of_study(path):
    """The file of the problem whose sampler is varied."""
    return path.format(rproblem=SENSITIVITY.problem, labels="clean", rset="scored_a50")


def cells_from(first):
    """The cells of a job, by the number of the first."""
    return SENSITIVITY_CELLS[first : first + SENSITIVITY.cell_block]


# Some sampling runs of the study, one after another; interrupted, it goes on where it was.
rule retraining_sensitivity:
    input:
        checkpoints=of_study(RT_CHECKPOINTS),
        calibration=of_study(RT_CALIBRATION),
        targets=of_study(RT_TARGETS),
        code=code("stagewise.cli.retraining_sensitivity"),
    output:
        predictions="<results>/studies/retraining/sensitivity_{cell}.nc",
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
        predictions=expand(
            "<results>/studies/retraining/sensitivity_{cell}.nc",
            cell=[
                f"{first:03d}"
                for first in range(0, len(SENSITIVITY_CELLS), SENSITIVITY.cell_block)
            ],
        ),
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
STUDIED_PROBLEMS = {name: RETRAINED[name] for name in RETRAINING.studies}

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
