"""A mistake in the configuration ends in one message that says what to do, before anything runs."""

from pathlib import Path

import pytest

from support.workflow import Copy, copy_repository

MISTAKES = {
    "toy: {training: {learnin_rate: 0.1}}": "Did you mean 'learning_rate'?",
    "toy: {sampling: {main: {step_size: 1e-4}}}": "write 1.0e-4",
    "toy: {sampling: {main: {localization: -1.0}}}": "toy.sampling.main.localization",
    "toy: {sampling: {main: {step_size: 0.0}}}": "greater than 0",
    "toy: {sampling: {main: {trees: [oak]}}}": "the config has balanced, unbalanced",
    "toy: {windows: {width: 100000}}": "longer than toy.training.steps",
    "tables: 3": "tables",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return copy_repository(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_configuration_is_named_and_nothing_is_run(copy: Copy, mistake: str) -> None:
    (copy.folder / "wrong.yaml").write_text(mistake)
    output = copy.run(copy.wrapped("--configfile", "wrong.yaml"), status=1)
    assert MISTAKES[mistake] in output
    assert "Traceback" not in output
    assert not (copy.folder / "results").exists()


@pytest.mark.parametrize(
    ("text", "part"),
    [("toy: [", "not valid JSON or YAML"), (None, "wrong.yaml")],
    ids=["not yaml", "missing"],
)
def test_an_unreadable_configuration_is_refused(copy: Copy, text: str | None, part: str) -> None:
    path = copy.folder / "wrong.yaml"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text)
    assert part in copy.run(copy.wrapped("--configfile", "wrong.yaml"), status=1)


def test_a_mistake_that_only_a_stage_can_see_stands_in_what_snakemake_prints(
    copy: Copy, tmp_path: Path
) -> None:
    """The failed job's log is shown, so that nobody has to look for it."""
    (copy.folder / "wrong.yaml").write_text(
        "toy: {trees: {balanced: {branching: null, nested: [[a, a], [b, c]]}}}"
    )
    target = "results/toy/balanced/training.nc"
    output = copy.run(copy.wrapped(target, "--configfile", "wrong.yaml"), status=1)
    assert "toy_train: " in output
    assert "'a'" in output
    assert not (copy.folder / target).exists()
