"""The stage on a world whose truth is known: tables, numbers, equal bytes, refusals."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stagewise.cli import retraining_tables as stage
from stagewise.storage import mislabel
from support.retraining_files import QUALITY, SAMPLES, SETTINGS, write_world
from support.retraining_tables import retraining_tables

Result = tuple[dict[str, pd.DataFrame], dict[str, dict]]


def flags(world: dict[str, list[Path]], out: Path) -> list[str]:
    found = ["--settings", json.dumps({"seed": 1, "resamplings": 100})]
    found += ["--tables", str(out), "--numbers", str(out / "numbers.json")]
    for name, paths in world.items():
        found += [f"--{name}", *map(str, paths)]
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def out(world: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    assert stage.main(flags(world, folder)) == 0
    return folder


@pytest.fixture(scope="module")
def result(out: Path) -> Result:
    tables = {path.stem: pd.read_csv(path) for path in out.glob("*.csv")}
    return tables, json.loads((out / "numbers.json").read_text(encoding="utf-8"))


def test_tables_are_those_that_figures_are_tested_on(result: Result) -> None:
    tables, _ = result
    made = retraining_tables()
    assert set(tables) == set(made)
    for name, table in made.items():
        assert set(tables[name]) == set(table), name


def test_every_method_and_setting_is_there(result: Result) -> None:
    tables, numbers = result
    assert len(tables["retraining_settings"]) == 2 * len(QUALITY) * SETTINGS
    assert tables["retraining_settings"]["chosen"].sum() == 2 * len(QUALITY)
    assert set(tables["retraining_lds"]["alpha"]) == {0.3, 0.5}
    wanted = ["net.lds.alpha50.bif", "net.difference.alpha30.ekfac_low", "net.seconds.ekfac"]
    wanted += ["net.ceiling.alpha50", "net.split_half.alpha30", "loo.convex.exact_ggn"]
    wanted += [
        "loo.net.ceiling",
        "mislabel.net.auroc.bif",
        "removal.net.bif.k5",
        "models_trained",
    ]
    wanted += ["signs.net.subsets.conflicts.bif", "signs.net.leave_one_out.all.ekfac"]
    wanted += ["net.difference.alpha50.exact_ggn_less_ekfac", "net.megabytes.ekfac"]
    assert [key for key in wanted if f"retraining.{key}" not in numbers] == []


def test_better_attributors_score_higher_up_to_the_ceiling(result: Result) -> None:
    """Quality 0.95, 0.9, 0.8 and 0; nobody beats a perfect predictor by more than an interval."""
    tables, _ = result
    scores = tables["retraining_lds"].set_index(["alpha", "method"])["value"]
    tops = tables["retraining_ceiling"].query("quantity == 'ceiling'").set_index("alpha")
    for alpha in (0.3, 0.5):
        order = scores[alpha][["exact_ggn", "bif", "ekfac", "random"]].to_numpy()
        assert (np.diff(order) < 0).all()
        assert order[0] < tops.loc[alpha, "high"]
    gaps = tables["retraining_difference"].query("alpha == 0.5 and second == 'random'")
    assert (gaps["low"] > 0).all()


def test_differences_are_of_the_scores(result: Result) -> None:
    tables, _ = result
    scores = tables["retraining_lds"].set_index(["alpha", "method"])["value"]
    for row in tables["retraining_difference"].itertuples(index=False):
        gap = scores[row.alpha, row.first] - scores[row.alpha, row.second]
        assert row.value == pytest.approx(gap, abs=1e-12)


def test_the_convex_problem_is_scored_where_nothing_was_chosen(result: Result) -> None:
    tables, _ = result
    convex = tables["retraining_loo"].query("problem == 'convex'")
    assert set(convex["n_samples"]) == {10}
    assert set(convex["seeds"]) == {1}
    assert not {"ceiling", "split_half"} & set(convex["method"])


def test_models_are_counted(result: Result) -> None:
    _, numbers = result
    assert numbers["retraining.models_trained"]["value"] == 4 * (24 * 3 + 11 + 13) + 21
    assert numbers["retraining.self_check"]["value"] == pytest.approx(1e-7)


def test_equal_inputs_give_equal_bytes(
    world: dict[str, list[Path]], out: Path, tmp_path: Path
) -> None:
    # Scores in another order: results hang on names only.
    turned = world | {"scores": world["scores"][::-1]}
    assert stage.main(flags(turned, tmp_path)) == 0
    for path in (*out.glob("*.csv"), out / "numbers.json"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_refusals_name_the_file(
    world: dict[str, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = world | {"scores": [*world["scores"], world["scores"][0]]}
    assert stage.main(flags(twice, tmp_path)) == 2
    assert "bif_0.nc" in capsys.readouterr().err
    clean = mislabel.from_arrays(
        value=np.arange(40.0), flipped=np.zeros(40, bool), sample=SAMPLES, method="m", problem="net"
    )
    mislabel.write(clean, tmp_path / "clean.nc")
    assert stage.main(flags(world | {"mislabel": [tmp_path / "clean.nc"]}, tmp_path)) == 2
    assert "clean.nc: 0 of 40 labels are flipped" in capsys.readouterr().err
