# The paper is the sink of the graph: all numbers in one file, all figures, one PDF.

# What the paper is written in; all of it stands in paper/, wherever the PDF is built.
SOURCES = [
    os.path.relpath(path)
    for pattern in ("*.typ", "*.bib", "sections/*.typ")
    for path in sorted(Path(workflow.basedir, "paper").glob(pattern))
]
# Committed records of long runs, where there are any: the paper finds them beside its source.
RECORDS = [
    os.path.relpath(path)
    for name in ("studies", "bench", "gpu", "cluster")
    for path in Path(workflow.basedir, "paper", "expected").glob(f"{name}.json")
]


# How long the whole run took, from the benchmark files of its jobs.
rule run_timing:
    input:
        benchmarks=run_benchmarks(),
        code=code("stagewise.cli.timing"),
    output:
        numbers="<results>/numbers_timing.json",
    log:
        "<logs>/run_timing.log",
    benchmark:
        "<benchmarks>/run_timing.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        name=f"run.{CONFIG.name}",
        code=digest("stagewise.cli.timing"),
    shell:
        "python -m stagewise.cli.timing --name {params.name:q} --benchmarks {input.benchmarks:q}"
        " --numbers {output.numbers:q}"
        " > {log:q} 2>&1"


# The numbers of all stages in one file for the text, and as LaTeX for other people's templates.
rule numbers:
    input:
        metrics=[*NUMBERS, rules.run_timing.output.numbers],
        code=code("stagewise.cli.numbers"),
    output:
        numbers="<paper>/generated/numbers.json",
        tex="<paper>/generated/numbers.tex",
        tables_tex="<paper>/generated/tables.tex",
        settings="<paper>/generated/settings.json",
    log:
        "<logs>/numbers.log",
    benchmark:
        "<benchmarks>/numbers.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: settings(**CONFIG.model_dump(mode="json")),
        code=digest("stagewise.cli.numbers"),
    shell:
        "python -m stagewise.cli.numbers --settings {params.settings:q}"
        " --metrics {input.metrics:q} --out {output.numbers:q} --tex {output.tex:q}"
        " --tables-tex {output.tables_tex:q} --settings-out {output.settings:q}"
        " > {log:q} 2>&1"


rule paper:
    input:
        sources=SOURCES,
        records=RECORDS,
        numbers=rules.numbers.output.numbers,
        settings=rules.numbers.output.settings,
        figures=expand("<paper>/figures/{figure}.pdf", figure=FIGURES),
        code=code("stagewise.cli.paper"),
    output:
        report(
            "<paper>/main.pdf",
            caption="../report/paper.rst",
            category="Paper",
            labels={"figure": "paper"},
        ),
    log:
        "<logs>/paper.log",
    benchmark:
        "<benchmarks>/paper.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        source=lambda w: os.path.relpath(Path(workflow.basedir, "paper", "main.typ")),
        code=digest("stagewise.cli.paper"),
    shell:
        "python -m stagewise.cli.paper --source {params.source:q}"
        " --numbers {input.numbers:q} --settings-file {input.settings:q}"
        " --figures {input.figures:q} --out {output:q}"
        " > {log:q} 2>&1"
