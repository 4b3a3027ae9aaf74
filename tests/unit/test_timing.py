"""How long a run took: from its jobs' benchmark files, and known only where none resumed."""

import json
from pathlib import Path

import pytest

from stagewise.cli import timing
from stagewise.cli.expected import refuse_resumed
from stagewise.errors import ConfigError
from stagewise.files import WENT_ON


def timed(folder: Path, logs: dict[str, str]) -> dict:
    """Runs the stage on jobs of 60 seconds each, which left these logs."""
    for name, text in logs.items():
        benchmark, log = folder / f"benchmarks/{name}.tsv", folder / f"logs/{name}.log"
        for path in (benchmark, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text("s\tmax_rss\tcpu_time\n60\t1\t2\n")
        log.write_text(text)
    paths = [str(folder / f"benchmarks/{name}.tsv") for name in logs]
    flags = ["--name", "toy", "--numbers", str(folder / "timing.json")]
    assert timing.main(["--benchmarks", *paths, *flags]) == 0
    return json.loads((folder / "timing.json").read_text())


def test_jobs_run_in_pairs_on_two_cores(tmp_path: Path) -> None:
    found = timed(tmp_path, {"train/a": "", "sample/a.b": "step 1 of 2", "tables": ""})
    assert found["toy.minutes"]["value"] == 1.5
    assert (found["toy.resumed"]["value"], found["toy.resumed"]["n"]) == (0.0, 3)
    refuse_resumed(found)


def test_times_of_resumed_jobs_are_named_and_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a record of a training that was interrupted: its seconds are of the rest alone."""
    found = timed(tmp_path, {"train/a": "", "sample/a.b": f"{WENT_ON}\nstep 2 of 2"})
    assert found["toy.resumed"]["value"] == 1.0
    assert "sample/a.b.tsv" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"toy\.resumed.*delete their outputs"):
        refuse_resumed(found)
