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


# Files of numbers by study. Each study is a target, a run and a record of its own; what a
# configuration leaves out is none.
STUDIES = {
    "toy": [rules.toy_sweep_study.output.numbers],
    "calibration": [rules.problem_grid_study.output.numbers],
    "language": (
        [] if INTERVENTION is None else [rules.language_branch_study.output.numbers]
    ),
    "scaling": [rules.scaling_numbers.output.numbers],
    "vision": [
        rules.vision_sensitivity.output.numbers.format(vrun=name) for name in STUDIED
    ],
    "vision_long": [
        rules.vision_long.output.numbers.format(vrun=name) for name in STUDIED
    ],
    "retraining": [rules.retraining_sensitivity_table.output.numbers],
    "retraining_problems": (
        [rules.retraining_study_tables.output.numbers] if STUDIED_PROBLEMS else []
    ),
}
STUDIES = {name: files for name, files in STUDIES.items() if files}


wildcard_constraints:
    study="|".join(STUDIES),


# The numbers of one study in one file, with the settings that it was run with: what `make studies`
# records for the paper.
use rule numbers as study_numbers with:
    input:
        metrics=lambda w: STUDIES[w.study],
        code=code("stagewise.cli.numbers"),
    output:
        numbers="<results>/studies/{study}/numbers.json",
        tex="<results>/studies/{study}/numbers.tex",
        tables_tex="<results>/studies/{study}/tables.tex",
        settings="<results>/studies/{study}/settings.json",
    log:
        "<logs>/study_numbers/{study}.log",
    benchmark:
        "<benchmarks>/study_numbers/{study}.tsv"


# Studies by figure: the one with the longest name that the figure's begins with.
STUDY_OF = {
    figure: max(filter(figure.startswith, STUDIES), key=len, default=None)
    for figure in STUDY_FIGURES
}


# `make studies STUDY=vision` asks for `studies_vision`.
for study in STUDIES:

    rule:
        name:
            f"studies_{study}"
        input:
            f"<results>/studies/{study}/numbers.json",
            expand(
                "<results>/studies/figures/{figure}.{format}",
                figure=[name for name, of in STUDY_OF.items() if of == study],
                format=["pdf", "png"],
            ),
