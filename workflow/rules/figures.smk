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
}

TABLES = sorted({table for tables in FIGURES.values() for table in tables})


wildcard_constraints:
    figure="|".join(FIGURES),


rule toy_figure:
    input:
        tables=lambda w: expand("<tables>/{table}.csv", table=FIGURES[w.figure]),
        code=code("stagewise.cli.toy_figure"),
    output:
        pdf="<paper>/figures/{figure}.pdf",
        png=report(
            "<paper>/figures/{figure}.png",
            caption="../report/toy_figure.rst",
            category="Toy experiment",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/toy_figure/{figure}.log",
    benchmark:
        "<benchmarks>/toy_figure/{figure}.tsv"
    conda:
        "../envs/stagewise.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=digest("stagewise.cli.toy_figure"),
    shell:
        "python -m stagewise.cli.toy_figure --name {wildcards.figure}"
        " --tables {input.tables:q} --pdf {output.pdf:q} --png {output.png:q}"
        " > {log:q} 2>&1"
