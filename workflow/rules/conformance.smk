# Whose sampler has the law that it should: one job per sampler, all held against the same exact
# values.
SUITE = CONFIG.conformance

NUMBERS += ["<results>/conformance/numbers.json"]
BENCHMARKS += [
    *expand("<benchmarks>/conformance/{sampler}.tsv", sampler=SUITE.samplers),
    "<benchmarks>/conformance_table.tsv",
]


wildcard_constraints:
    sampler="|".join(SUITE.samplers),


rule conformance:
    input:
        code=code("stagewise.cli.conformance"),
    output:
        table="<results>/conformance/{sampler}.csv",
    log:
        "<logs>/conformance/{sampler}.log",
    benchmark:
        "<benchmarks>/conformance/{sampler}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, sampler=w.sampler, judge=SUITE.judge()
        ),
        code=digest("stagewise.cli.conformance"),
    shell:
        "python -m stagewise.cli.conformance --settings {params.settings:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


# All samplers in one table, in the order of the config.
rule conformance_table:
    input:
        parts=expand("<results>/conformance/{sampler}.csv", sampler=SUITE.samplers),
        code=code("stagewise.cli.conformance_table"),
    output:
        table="<results>/tables/conformance.csv",
        numbers="<results>/conformance/numbers.json",
    log:
        "<logs>/conformance_table.log",
    benchmark:
        "<benchmarks>/conformance_table.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.conformance_table"),
    shell:
        "python -m stagewise.cli.conformance_table --parts {input.parts:q}"
        " --table {output.table:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"
