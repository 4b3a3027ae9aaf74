# Every figure from tidy tables and from nothing else: `--config tables=archive/` draws them all
# again without running anything upstream.

# The tables that each figure shows; a test compares this with stagewise.plotting.catalogue.
FIGURES = {
    "toy_modes": ["toy_modes"],
    "toy_influence": ["toy_influence", "toy_transitions"],
    "toy_timing": ["toy_influence", "toy_transitions", "toy_flips"],
    "toy_law": ["toy_influence"],
    "toy_agreement": ["toy_agreement", "toy_z"],
    "toy_pairs": ["toy_pairs", "toy_mds"],
    "toy_pairs_unbalanced": ["toy_pairs", "toy_mds"],
    "toy_mds": ["toy_influence", "toy_transitions", "toy_mds"],
    "toy_windows": ["toy_windows", "toy_influence"],
    "toy_sweep": ["toy_sweep"],
    "toy_mixture": ["toy_mixture"],
    "toy_diagnostics": ["toy_diagnostics"],
    "calibration": ["calibration_search", "calibration_rows"],
    "conformance": ["conformance"],
    "language_scores": ["language_scores", "language_claims"],
    "language_influence": ["language_curves", "language_claims"],
    "language_heat": ["language_heat"],
    "language_text": ["language_text"],
    "language_llc": ["language_llc", "language_claims"],
    "language_cancel": ["language_cancel"],
    "multitask_kernel": ["multitask_kernel", "multitask_map"],
    "multitask_separation": ["multitask_separation", "multitask_coupling"],
    "vision_sheet": ["vision_images"],
    "vision_map": ["vision_images", "vision_map"],
    "vision_neighbours": ["vision_images", "vision_neighbours"],
    "vision_alignment": ["vision_relations", "vision_depths", "vision_draws"],
    "vision_clusters": ["vision_alignment", "vision_depths"],
    "vision_matrix": ["vision_matrix"],
    "vision_early": ["vision_images", "vision_map", "vision_early"],
    "retraining_lds": [
        "retraining_lds",
        "retraining_difference",
        "retraining_ceiling",
    ],
    "retraining_cost": ["retraining_cost", "retraining_settings"],
    "retraining_settings": ["retraining_settings"],
    "retraining_loo": ["retraining_loo"],
    "retraining_removal": ["retraining_removal"],
    "retraining_signs": ["retraining_signs"],
    "retraining_mislabel": ["retraining_mislabel"],
}

# Figures of the intervention, where the config has one.
BRANCH_FIGURES = {
    "language_intervention": ["language_branches"],
}
if INTERVENTION is not None:
    FIGURES |= BRANCH_FIGURES

# Figures of flipped labels, where a run has them.
JUDGED_FIGURES = {
    "vision_influence": ["vision_influence"],
    "vision_detectors": ["vision_detectors"],
}
if image_runs_with("vision_detectors"):
    FIGURES |= JUDGED_FIGURES

# Figures of `make studies` only.
STUDY_FIGURES = {
    "toy_sweep": ["toy_sweep"],
    "calibration_grid": ["calibration_grid"],
    "vision_sensitivity": ["vision_sensitivity"],
    "vision_long": ["vision_long"],
    "retraining_sensitivity": ["retraining_sensitivity"],
    "retraining_speed": ["retraining_speed"],
}
if not STUDIED:
    for study in VISION_STUDIES:
        del STUDY_FIGURES[study]
if INTERVENTION is not None:
    STUDY_FIGURES |= BRANCH_FIGURES

# Figures of the committed record of `make bench`, drawn where there is one.
RECORD_FIGURES = {
    "bench_costs": ["bench_costs"],
}
BENCH_RECORD = [
    os.path.relpath(path)
    for path in Path(workflow.basedir, "paper", "expected").glob("bench.json")
]
if BENCH_RECORD:
    FIGURES |= RECORD_FIGURES

# Of the records of `make studies` (CPU) and of bench/gpu.py: a panel says "not run" where there is
# nothing in one of them.
SCALING_FIGURES = {
    "scaling": ["scaling"],
}
SCALING_RECORDS = [
    os.path.relpath(path)
    for name in ("studies", "gpu")
    for path in Path(workflow.basedir, "paper", "expected").glob(f"{name}.json")
]
if SCALING_RECORDS:
    FIGURES |= SCALING_FIGURES

# Headings of the report, by the first word of a figure's name.
CATEGORIES = {
    "toy": "Toy experiment",
    "calibration": "The sampler",
    "conformance": "The sampler",
    "bench": "The sampler",
    "scaling": "Cost and scale",
    "language": "Language models",
    "multitask": "Loss kernel",
    "vision": "Loss kernel",
    "retraining": "Retraining",
}

TABLES = sorted({table for tables in FIGURES.values() for table in tables})


wildcard_constraints:
    figure="|".join({**FIGURES, **STUDY_FIGURES, **RECORD_FIGURES, **SCALING_FIGURES}),


rule figure:
    input:
        tables=lambda w: expand("<tables>/{table}.csv", table=FIGURES[w.figure]),
        code=code("stagewise.cli.figure"),
    output:
        pdf="<paper>/figures/{figure}.pdf",
        png=report(
            "<paper>/figures/{figure}.png",
            caption="../report/figure.rst",
            category=lambda w: CATEGORIES[w.figure.partition("_")[0]],
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/figure/{figure}.log",
    benchmark:
        "<benchmarks>/figure/{figure}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.figure"),
    shell:
        "python -m stagewise.cli.figure --name {wildcards.figure}"
        " --tables {input.tables:q} --pdf {output.pdf:q} --png {output.png:q}"
        " > {log:q} 2>&1"
