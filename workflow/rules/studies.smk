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


use rule toy_figure as study_figure with:
    input:
        tables="<results>/studies/tables/{figure}.csv",
        code=code("stagewise.cli.toy_figure"),
    output:
        pdf="<results>/studies/figures/{figure}.pdf",
        png="<results>/studies/figures/{figure}.png",
    log:
        "<logs>/study_figure/{figure}.log",
    benchmark:
        "<benchmarks>/study_figure/{figure}.tsv"


# The numbers of all studies in one file with the settings that they were run with: what `make
# studies` records for the paper.
use rule numbers as study_numbers with:
    input:
        metrics=rules.toy_sweep_study.output.numbers,
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
