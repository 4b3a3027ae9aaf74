from snakemake.utils import min_version

min_version("9.27")


configfile: "config/default.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/toy_jobs.smk"
include: "workflow/rules/toy.smk"
include: "workflow/rules/toy_tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/studies.smk"


# What a person would ask for. `paper` and `numbers` are rules of their own, in paper.smk.


rule all:
    default_target: True
    input:
        rules.paper.output,
        rules.numbers.output,


rule tables:
    input:
        expand("<results>/tables/{table}.csv", table=TABLES),


rule figures:
    input:
        expand(
            "<paper>/figures/{figure}.{format}", figure=FIGURES, format=["pdf", "png"]
        ),


rule toy:
    input:
        rules.tables.input,
        rules.figures.input,
        NUMBERS,


rule studies:
    input:
        rules.toy_sweep_study.output,
        rules.study_numbers.output,
        expand("<results>/studies/figures/toy_sweep.{format}", format=["pdf", "png"]),
