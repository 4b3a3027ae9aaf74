"""The bench: its arithmetic, that it refuses outputs that disagree, and that it runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from stagewise.cli import bench as stage
from stagewise.config.bench import BenchJob
from stagewise.errors import SchemaError, StagewiseError
from stagewise.evaluation.bench import check_law, check_step, compare, ratio_numbers, shared_means
from stagewise.storage.metrics import read_numbers
from support.repository import ROOT

PROGRAM = ROOT / "bench" / "measure.py"


def test_ratios_are_paired() -> None:
    """A machine that is twice as slow in one round changes nothing."""
    found = ratio_numbers("bench.x.vs_y", [1.0, 2.0, 1.0], [3.0, 6.0, 3.0], "bench")
    values = {key: entry["value"] for key, entry in found.items()}
    assert values == {"bench.x.vs_y": 3.0, "bench.x.vs_y_low": 3.0, "bench.x.vs_y_high": 3.0}
    assert found["bench.x.vs_y"]["n"] == 3


def test_a_round_that_says_nothing_is_left_out_and_not_counted() -> None:
    found = ratio_numbers("bench.x.vs_y", [1.0, 2.0, 1.0], [3.0, -6.0, 3.0], "bench")
    assert found["bench.x.vs_y"]["value"] == 3.0
    assert found["bench.x.vs_y"]["n"] == 2


@pytest.mark.parametrize(("ours", "theirs"), [([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_times_that_are_no_times_are_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(SchemaError, match="raise the workload's draws"):
        ratio_numbers("k", ours, theirs, "bench")


STEADY = """
import json, sys
from pathlib import Path
from measure import main

main(*sys.argv[1:])
out = Path(sys.argv[2])
found = json.loads(out.read_text())
out.write_text(json.dumps(found | {"marginal": 1.0} if "marginal" in found else found))
"""


def langevin(noise: float, seed: int) -> list[float]:
    """Mean energy of 64 chains on a parabola, with noise scaled by a factor."""
    rng, w, energy = np.random.default_rng(seed), np.zeros(64), np.zeros(64)
    for step in range(600):
        w = 0.95 * w + noise * np.sqrt(0.1) * rng.standard_normal(64)
        energy += 0.5 * w**2 * (step >= 100) / 500
    return energy.tolist()


def test_a_law_with_other_noise_is_refused() -> None:
    """Noise of sqrt(2 e) for sqrt(e) doubles the energy, of which the error here is 5%."""
    assert check_law("right", langevin(1.0, 0), langevin(1.0, 1), 5.0) < 5.0
    with pytest.raises(SchemaError, match="samples another law"):
        check_law("wrong", langevin(1.0, 0), langevin(2**0.5, 1), 5.0)


def test_a_step_down_another_potential_is_refused() -> None:
    step = np.array([[1.0, -2.0, 0.5]])
    assert check_step("right", step, step * (1 + 1e-6), 1e-3) < 1e-5
    with pytest.raises(SchemaError, match="another potential"):
        check_step("wrong", step, 2 * step, 1e-3)


def test_no_time_is_quoted_of_a_sampler_that_disagrees() -> None:
    right = {"marginal": 1.0, "total": 2.0, "means": [langevin(1.0, 0)]}
    wrong = {"marginal": 0.1, "total": 0.2, "means": [langevin(2**0.5, 1)]}
    steps = {"stagewise": np.ones((1, 3)), "fast": np.ones((1, 3))}
    with pytest.raises(SchemaError, match="fast"):
        compare("toy", {"stagewise": [right], "fast": [wrong]}, steps, (1e-3, 5.0))
    agreed = compare("toy", {"stagewise": [right], "fast": [{**wrong, "means": [langevin(1, 3)]}]},
                     steps, (1e-3, 5.0))  # fmt: skip
    assert agreed["bench.toy.vs_fast"]["value"] == pytest.approx(0.1)
    assert agreed["bench.toy.vs_fast_total"]["value"] == pytest.approx(0.1)


def test_laws_are_compared_at_the_checkpoints_that_both_sampled() -> None:
    """Samplers that run chains one by one get the first few; the others differ."""
    first, second = langevin(1.0, 0), [10 + one for one in langevin(1.0, 1)]
    one, other = shared_means([{"means": [first, second]}], [{"means": [langevin(1.0, 2)]}])
    assert one == first
    assert check_law("right", one, other, 5.0) < 5.0


def brief(workload: str) -> BenchJob:
    default, smoke = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))["bench"]
        for name in ("default", "smoke")
    )
    shops = {
        name: {**shop, **smoke["workloads"].get(name, {}), "rounds": 1}
        for name, shop in default["workloads"].items()
    }
    content = {**default, **smoke, "workloads": shops, "shares": default["shares"]}
    job = {"seed": 1, "workload": workload, "bench": content}
    return BenchJob.model_validate_json(json.dumps(job))


def test_a_small_bench_runs_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = tmp_path / "numbers.json"
    # What is measured is real but for the times, which other tests would disturb.
    steady = tmp_path / "bench" / "steady.py"
    shutil.copytree(PROGRAM.parent, steady.parent)
    steady.write_text(STEADY, encoding="utf-8")
    arguments = (steady, tmp_path / "scratch", numbers)
    broken = pytest.MonkeyPatch()
    broken.setattr(stage, "compare", lambda *_: (_ for _ in ()).throw(StagewiseError("stopped")))
    with pytest.raises(StagewiseError, match="stopped"):
        stage.bench(brief("mlp"), *arguments)
    broken.undo()
    assert "stagewise-0:" in capsys.readouterr().out
    stage.bench(brief("mlp"), *arguments)
    assert "stagewise-0:" not in capsys.readouterr().out
    found = read_numbers(numbers)
    assert found["bench.mlp.vs_vmap"]["value"] > 0
    assert found["bench.mlp.vmap_step_difference"]["value"] < 1e-3


def test_a_measurement_that_fails_says_why(tmp_path: Path) -> None:
    program = tmp_path / "bench" / "measure.py"
    program.parent.mkdir()
    program.write_text("raise SystemExit('no such device')")
    with pytest.raises(StagewiseError, match="no such device"):
        stage.bench(brief("mlp"), program, tmp_path / "scratch", tmp_path / "numbers.json")
