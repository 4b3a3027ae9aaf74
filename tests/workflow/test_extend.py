"""The experiment of docs/extend.md runs as the page says."""

import re
from pathlib import Path

import numpy as np

from stagewise.storage import scores
from support.repository import ROOT
from support.workflow import copy_repository


def block(language: str) -> str:
    text = (ROOT / "docs/extend.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return found


def test_an_experiment_is_a_stage_and_a_rule(tmp_path: Path) -> None:
    """Catches a page that no longer fits: flags, helpers of the rules, the log, the benchmark."""
    copy = copy_repository(tmp_path)
    (tmp_path / "src/stagewise/cli/moons_table.py").write_text(block("py"))
    (tmp_path / "workflow/rules/moons.smk").write_text(block("snakemake"))
    with (tmp_path / "Snakefile").open("a") as stream:
        stream.write('\n\ninclude: "workflow/rules/moons.smk"\n')
    value = np.array([[-3.0, 1.0, -0.1], [-3.0, -1.0, 0.0]])
    made = scores.from_arrays(
        value=value, se=0.1 + 0 * value, query=["a", "b"], sample=["a", "b", "c"], method="bif"
    )
    scores.write(made, tmp_path / "results/moons/scores.nc")
    copy.run(copy.wrapped("results/moons/table.csv", "-c1"))
    table = (tmp_path / "results/moons/table.csv").read_text()
    assert table == "query,helpful\na,1\nb,2\n"
    assert (tmp_path / "results/benchmarks/moons_table.tsv").is_file()
