# The scaling study (`make studies`): what BIF and EK-FAC cost against the size of a language model,
# one measurement a job. A job that was stopped is made again, those that are done stay. Whatever is
# timed has the machine to itself.

from stagewise.config.scaling import jobs as scaling_jobs

SCALING = scaling_jobs(CONFIG.scaling, CONFIG.seed)


wildcard_constraints:
    measurement="|".join(SCALING),


rule scaling:
    input:
        code=code("stagewise.cli.scaling"),
    output:
        measured="<results>/scaling/{measurement}.json",
    log:
        "<logs>/scaling/{measurement}.log",
    benchmark:
        "<benchmarks>/scaling/{measurement}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: CORES
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        settings=lambda w: settings(**SCALING[w.measurement].model_dump(mode="json")),
        code=digest("stagewise.cli.scaling"),
    shell:
        "python -m stagewise.cli.scaling --settings {params.settings:q}"
        " --out {output.measured:q}"
        " > {log:q} 2>&1"


rule scaling_numbers:
    input:
        measured=expand("<results>/scaling/{measurement}.json", measurement=SCALING),
        code=code("stagewise.cli.scaling_numbers"),
    output:
        numbers="<results>/studies/numbers_scaling.json",
    log:
        "<logs>/scaling_numbers.log",
    benchmark:
        "<benchmarks>/scaling_numbers.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: settings(**CONFIG.scaling.model_dump(mode="json")),
        code=digest("stagewise.cli.scaling_numbers"),
    shell:
        "python -m stagewise.cli.scaling_numbers --settings {params.settings:q}"
        " --measured {input.measured:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# The committed records, for the figure in the paper: nothing is timed here.
rule scaling_table:
    input:
        records=SCALING_RECORDS,
        code=code("stagewise.cli.scaling_table"),
    output:
        table="<results>/tables/scaling.csv",
    log:
        "<logs>/scaling_table.log",
    benchmark:
        "<benchmarks>/scaling_table.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.scaling_table"),
    shell:
        "python -m stagewise.cli.scaling_table --records {input.records:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"
