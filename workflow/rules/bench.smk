# Speed against other samplers (`make bench`), one rule for each workload; what has been timed is kept,
# so that a stopped bench goes on where it was. Whatever is timed has the machine to itself.

# What is run in processes of its own: measure.py, and what it imports.
BENCH = sorted(
    os.path.relpath(path) for path in Path(workflow.basedir, "bench").glob("*.py")
)


wildcard_constraints:
    workload="|".join(CONFIG.bench.workloads),


rule bench_workload:
    input:
        program="bench/measure.py",
        programs=BENCH,
        code=code("stagewise.cli.bench"),
        sampler=code("stagewise.api"),
    output:
        numbers="<results>/bench/numbers_{workload}.json",
    log:
        "<logs>/bench_workload/{workload}.log",
    benchmark:
        "<benchmarks>/bench_workload/{workload}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: CORES
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: settings(
            seed=CONFIG.seed, workload=w.workload, bench=CONFIG.bench
        ),
        folder=f"{CONFIG.results}/bench/scratch",
        code=digest("stagewise.cli.bench"),
    shell:
        "python -m stagewise.cli.bench --settings {params.settings:q}"
        " --program {input.program:q} --folder {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# What a run costs against its sizes.
rule bench_costs:
    input:
        program="bench/measure.py",
        programs=BENCH,
        code=code("stagewise.cli.bench"),
        sampler=code("stagewise.api"),
    output:
        numbers="<results>/bench/numbers_costs.json",
    log:
        "<logs>/bench_costs.log",
    benchmark:
        "<benchmarks>/bench_costs.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: CORES
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda w: settings(seed=CONFIG.seed, bench=CONFIG.bench),
        folder=f"{CONFIG.results}/bench/scratch",
        code=digest("stagewise.cli.bench"),
    shell:
        "python -m stagewise.cli.bench --settings {params.settings:q}"
        " --program {input.program:q} --folder {params.folder:q} --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# What `make bench` records for the paper.
use rule numbers as bench_numbers with:
    input:
        metrics=[
            *expand(
                rules.bench_workload.output.numbers, workload=CONFIG.bench.workloads
            ),
            rules.bench_costs.output.numbers,
        ],
        code=code("stagewise.cli.numbers"),
    output:
        numbers="<results>/bench/numbers.json",
        tex="<results>/bench/numbers.tex",
        tables_tex="<results>/bench/tables.tex",
        settings="<results>/bench/settings.json",
    log:
        "<logs>/bench_numbers.log",
    benchmark:
        "<benchmarks>/bench_numbers.tsv"


# The same of one workload, where it alone is timed anew: `make bench WORKLOAD=mlp`.
use rule numbers as bench_part with:
    input:
        metrics=rules.bench_workload.output.numbers,
        code=code("stagewise.cli.numbers"),
    output:
        numbers="<results>/bench/{workload}/numbers.json",
        tex="<results>/bench/{workload}/numbers.tex",
        tables_tex="<results>/bench/{workload}/tables.tex",
        settings="<results>/bench/{workload}/settings.json",
    log:
        "<logs>/bench_part/{workload}.log",
    benchmark:
        "<benchmarks>/bench_part/{workload}.tsv"


for workload in CONFIG.bench.workloads:

    rule:
        name:
            f"bench_{workload}"
        input:
            f"<results>/bench/{workload}/numbers.json",


# The cost curves of the committed record, for the figure in the paper: nothing is timed here.
rule bench_table:
    input:
        record=BENCH_RECORD,
        code=code("stagewise.cli.bench_table"),
    output:
        table="<results>/tables/bench_costs.csv",
    log:
        "<logs>/bench_table.log",
    benchmark:
        "<benchmarks>/bench_table.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.bench_table"),
    shell:
        "python -m stagewise.cli.bench_table --record {input.record:q} --out {output.table:q}"
        " > {log:q} 2>&1"
