"""What every stage's command line shares, and the console script over all of them."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stagewise.cli import main as console
from stagewise.cli import watchdog
from stagewise.cli.stage import limit_torch_threads, stage
from stagewise.config.base import Count, Strict
from stagewise.errors import SchemaError
from support.repository import stage_modules


class Settings(Strict):
    """Settings of the stages below."""

    chains: Count


def run(function: object, *arguments: str) -> int:
    return stage(function)(arguments)


def test_parameters_become_flags() -> None:
    seen = {}

    def sample(
        settings: Settings,
        trace: list[Path],
        out: Path,
        name: str = "main",
        tables_tex: Path | None = None,
        limit: int = 3,
    ) -> None:
        seen.update(locals())

    status = run(
        sample, "--settings", '{"chains": 4}', "--trace", "a", "b", "--out", "c", "--limit", "5"
    )
    assert status == 0
    assert seen["settings"] == Settings(chains=4)
    assert seen["trace"] == [Path("a"), Path("b")]
    assert (seen["out"], seen["name"], seen["tables_tex"], seen["limit"]) == (
        Path("c"),
        "main",
        None,
        5,
    )
    assert run(sample, "--settings", '{"chains": 4}', "--trace", "a", "--out", "c") == 0
    assert run(sample, *"--trace a --out c --tables-tex t".split(), "--settings", "{}") == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"chains": 0}', "chains"),
        ('{"chains": "4"}', "chains"),
        ('{"chains": 4, "chain": 4}', "Did you mean 'chains'?"),
        ("{", "Invalid JSON"),
    ],
)
def test_wrong_settings_are_one_message_and_status_2(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def sample(settings: Settings) -> None:
        raise AssertionError("must not be reached")

    assert run(sample, "--settings", text) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("test_stage: ")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (SchemaError("trace a.nc is truncated: delete it"), 2, "delete it"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left", "a.nc"), 2, "no space left for a.nc"),
        (FileNotFoundError(errno.ENOENT, "No such file", "in.nc"), 2, "in.nc does not exist"),
    ],
)
def test_errors_that_a_user_can_mend_are_messages(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def sample(trace: Path) -> None:
        raise error

    assert run(sample, "--trace", "in.nc") == status
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    def sample(trace: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "other.nc")

    with pytest.raises(FileNotFoundError):
        run(sample, "--trace", "in.nc")


@pytest.mark.parametrize(("given", "expected"), [("3", [3]), ("", []), ("0", []), ("2,4", [])])
def test_torch_gets_the_threads_of_the_rule(
    given: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=calls.append))
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    limit_torch_threads()
    assert calls == expected


def test_a_stage_starts_without_torch() -> None:
    code = (
        "import sys; from stagewise.cli.stage import limit_torch_threads; "
        "limit_torch_threads(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_stage_started_by_hand_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(watchdog.VARIABLE, raising=False)
    assert watchdog.start_watchdog() is None


def test_an_inner_snakemake_keeps_the_name_of_the_outer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(watchdog.VARIABLE, raising=False)
    watchdog.name_myself()
    mine = os.environ[watchdog.VARIABLE]
    assert mine.startswith(f"{os.getpid()}:")
    code = (
        "import os; from stagewise.cli import watchdog as w; w.name_myself(); "
        "print(os.environ[w.VARIABLE])"
    )
    inner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert inner.stdout.strip() == mine
    monkeypatch.setenv(watchdog.VARIABLE, "4194305:1")  # of a Snakemake on another machine
    watchdog.name_myself()
    assert os.environ[watchdog.VARIABLE] == mine


def test_every_stage_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    names = {name.rpartition(".")[2] for name in stage_modules()} | {"workflow"}
    assert set(console.commands()) == names
    for name in names:
        assert callable(console.load(name))
    assert console.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name.replace("_", "-") in listed for name in names)


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["toy-trian"]) == 2
    assert "toy-train" in capsys.readouterr().err
