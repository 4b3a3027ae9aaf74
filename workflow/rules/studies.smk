# The long sensitivity studies (`make studies`): the rules of the default run on larger grids. A
# study can be stopped and goes on where it was.


use rule toy_sweep_table as toy_sweep_study with:
    input:
        **of_sweep("full"),
        code=code("stagewise.cli.toy_sweep_table"),
    output:
        table="<results>/studies/tables/toy_sweep.csv",
        numbers="<results>/studies/numbers_toy_sweep.json",
    log:
        "<logs>/toy_sweep_study.log",
    benchmark:
        "<benchmarks>/toy_sweep_study.tsv"
    params:
        name="full",
        settings=lambda w: settings(**of_rows(sweep_rows("full"))),
        code=digest("stagewise.cli.toy_sweep_table"),


use rule figure as study_figure with:
    input:
        tables=lambda w: expand(
            "<results>/studies/tables/{table}.csv", table=STUDY_FIGURES[w.figure]
        ),
        code=code("stagewise.cli.figure"),
    output:
        pdf="<results>/studies/figures/{figure}.pdf",
        png="<results>/studies/figures/{figure}.png",
    log:
        "<logs>/study_figure/{figure}.log",
    benchmark:
        "<benchmarks>/study_figure/{figure}.tsv"


# All arms of the intervention, on more seeds.
if INTERVENTION is not None:

    use rule language_branch_table as language_branch_study with:
        input:
            branches=branches(study=True),
            training=trained(
                INTERVENTION.run, branch_seeds(INTERVENTION.run, study=True)
            ),
            code=code("stagewise.cli.language_branch_table"),
        output:
            table="<results>/studies/tables/language_branches.csv",
            numbers="<results>/studies/numbers_language_intervention.json",
        log:
            "<logs>/language_branch_study.log",
        benchmark:
            "<benchmarks>/language_branch_study.tsv"
        params:
            settings=lambda w: settings(**of_branch_table(study=True)),
            code=digest("stagewise.cli.language_branch_table"),


LANGUAGE_STUDIES = (
    [] if INTERVENTION is None else [rules.language_branch_study.output.numbers]
)


VISION_STUDIES = [
    f"{IMAGES_FOLDER}/numbers_sensitivity.json".format(vrun=name) for name in STUDIED
]


RETRAINING_STUDIES = [rules.retraining_sensitivity_table.output.numbers]
if STUDIED_PROBLEMS:
    RETRAINING_STUDIES.append(rules.retraining_study_tables.output.numbers)


# The numbers of all studies in one file with the settings that they were run with: what `make
# studies` records for the paper.
use rule numbers as study_numbers with:
    input:
        metrics=[
            rules.toy_sweep_study.output.numbers,
            rules.problem_grid_study.output.numbers,
            *LANGUAGE_STUDIES,
            rules.scaling_numbers.output.numbers,
            *VISION_STUDIES,
            *RETRAINING_STUDIES,
        ],
        code=code("stagewise.cli.numbers"),
    output:
        numbers="<results>/studies/numbers.json",
        tex="<results>/studies/numbers.tex",
        tables_tex="<results>/studies/tables.tex",
        settings="<results>/studies/settings.json",
    log:
        "<logs>/study_numbers.log",
    benchmark:
        "<benchmarks>/study_numbers.tsv"


# The grids of calibration alone, for a record of them without the toy's sweep: `make studies-calibration`.
use rule numbers as calibration_study_numbers with:
    input:
        metrics=rules.problem_grid_study.output.numbers,
        code=code("stagewise.cli.numbers"),
    output:
        numbers="<results>/studies/calibration/numbers.json",
        tex="<results>/studies/calibration/numbers.tex",
        tables_tex="<results>/studies/calibration/tables.tex",
        settings="<results>/studies/calibration/settings.json",
    log:
        "<logs>/calibration_study_numbers.log",
    benchmark:
        "<benchmarks>/calibration_study_numbers.tsv"
