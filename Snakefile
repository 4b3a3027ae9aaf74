from snakemake.utils import min_version

min_version("9.27")


configfile: "config/default.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/toy_jobs.smk"
include: "workflow/rules/toy.smk"
include: "workflow/rules/toy_tables.smk"
include: "workflow/rules/calibration_jobs.smk"
include: "workflow/rules/calibration.smk"
include: "workflow/rules/conformance.smk"
include: "workflow/rules/language_jobs.smk"
include: "workflow/rules/language.smk"
include: "workflow/rules/multitask_jobs.smk"
include: "workflow/rules/multitask.smk"
include: "workflow/rules/vision_jobs.smk"
include: "workflow/rules/vision.smk"
include: "workflow/rules/vision_study.smk"
include: "workflow/rules/retraining_jobs.smk"
include: "workflow/rules/retraining.smk"
include: "workflow/rules/retraining_study_jobs.smk"
include: "workflow/rules/retraining_study.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/scaling.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/bench.smk"


# What a cluster's login node does itself, in a second each: it would take longer to submit.
localrules:
    toy_timing,
    multitask_timing,
    language_timing,
    vision_timing,
    run_timing,
    vision_join,
    conformance_table,
    retraining_timing,
    scaling_table,
    bench_table,
    numbers,
    paper,


# What jobs cannot say themselves.


onstart:
    start_or_refuse([CONFIG.results, CONFIG.paper or "paper"])


onerror:
    for message in explain(log):
        print(f"workflow: {message}", file=sys.stderr)


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
        TOY_NUMBERS,


rule retraining:
    input:
        rules.retraining_tables.output,


rule studies:
    input:
        [getattr(rules, f"studies_{study}").input for study in STUDIES],


rule bench:
    input:
        rules.bench_numbers.output,


hand_down(FOUND_CODE)
