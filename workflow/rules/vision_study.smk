# The loss kernel of images at other settings of the sampler, and with many draws: two studies.
STUDIED = [name for name in image_runs_with("vision_images") if IMAGE_RUNS[name].study]
VISION_STUDIES = ["vision_sensitivity", "vision_long"]


rule vision_sensitivity:
    input:
        images=IMAGES,
        taxonomy=IMAGE_TREE,
        kernels=lambda w: kernels_of_study(w.vrun, "grid"),
        code=code("stagewise.cli.vision_sensitivity"),
    output:
        table=f"{IMAGES_FOLDER}/tables/vision_sensitivity.csv",
        numbers=f"{IMAGES_FOLDER}/numbers_vision_sensitivity.json",
    log:
        "<logs>/vision_sensitivity/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_sensitivity/{vrun}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=image_table_memory,
        runtime=60,
    params:
        settings=lambda w: settings(**of_sensitivity(w.vrun, "grid")),
        code=digest("stagewise.cli.vision_sensitivity"),
    shell:
        "python -m stagewise.cli.vision_sensitivity --settings {params.settings:q}"
        " --images {input.images:q} --items {input.taxonomy:q} --kernels {input.kernels:q}"
        " --table {output.table:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


use rule vision_sensitivity as vision_long with:
    input:
        images=IMAGES,
        taxonomy=IMAGE_TREE,
        kernels=lambda w: kernels_of_study(w.vrun, "long"),
        code=code("stagewise.cli.vision_sensitivity"),
    output:
        table=f"{IMAGES_FOLDER}/tables/vision_long.csv",
        numbers=f"{IMAGES_FOLDER}/numbers_vision_long.json",
    log:
        "<logs>/vision_long/{vrun}.log",
    benchmark:
        "<benchmarks>/vision_long/{vrun}.tsv"
    params:
        settings=lambda w: settings(**of_sensitivity(w.vrun, "long")),
        code=digest("stagewise.cli.vision_sensitivity"),


wildcard_constraints:
    vision_study="|".join(VISION_STUDIES),


if STUDIED:

    use rule vision_join as vision_study_join with:
        input:
            tables=lambda w: [
                f"{IMAGES_FOLDER}/tables/{w.vision_study}.csv".format(vrun=name)
                for name in STUDIED
            ],
            code=code("stagewise.cli.vision_join"),
        output:
            table="<results>/studies/tables/{vision_study}.csv",
        log:
            "<logs>/vision_study_join/{vision_study}.log",
        benchmark:
            "<benchmarks>/vision_study_join/{vision_study}.tsv"
        params:
            settings=lambda w: settings(runs=STUDIED),
            code=digest("stagewise.cli.vision_join"),
