# The loss kernel of images at other settings of the sampler and with many draws (`make studies`).
STUDIED = [name for name in image_runs_with("vision_images") if IMAGE_RUNS[name].study]


rule vision_sensitivity:
    input:
        images=IMAGES,
        taxonomy=IMAGE_TREE,
        kernels=lambda w: kernels_of_study(w.vrun),
        code=code("stagewise.cli.vision_sensitivity"),
    output:
        table=f"{IMAGES_FOLDER}/tables/vision_sensitivity.csv",
        numbers=f"{IMAGES_FOLDER}/numbers_sensitivity.json",
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
        settings=lambda w: settings(**of_sensitivity(w.vrun)),
        code=digest("stagewise.cli.vision_sensitivity"),
    shell:
        "python -m stagewise.cli.vision_sensitivity --settings {params.settings:q}"
        " --images {input.images:q} --items {input.taxonomy:q} --kernels {input.kernels:q}"
        " --table {output.table:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


if STUDIED:

    use rule vision_join as vision_study_join with:
        input:
            tables=[
                f"{IMAGES_FOLDER}/tables/vision_sensitivity.csv".format(vrun=name)
                for name in STUDIED
            ],
            code=code("stagewise.cli.vision_join"),
        output:
            table="<results>/studies/tables/vision_sensitivity.csv",
        log:
            "<logs>/vision_study_join.log",
        benchmark:
            "<benchmarks>/vision_study_join.tsv"
        params:
            settings=lambda w: settings(runs=STUDIED),
            code=digest("stagewise.cli.vision_join"),
