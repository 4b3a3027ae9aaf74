"""Progress: few plain lines in a log, a bar on a terminal."""

import io
import time

import pytest

from stagewise.sampling.progress import Bar, Lines, bar, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_few_lines_and_one_at_the_end(clock: list[float]) -> None:
    """Catches a line per block of steps, carriage returns, and a missing last line."""
    stream = io.StringIO()
    tell = bar("sampling", stream, every=30.0)
    assert isinstance(tell, Lines)
    for done in range(10, 101, 10):
        clock[0] += 10
        tell(done, 100)
    tell.close()
    assert stream.getvalue().splitlines() == [
        "sampling: step 30 of 100 (30%), 30s elapsed, 1m10s left",
        "sampling: step 60 of 100 (60%), 1m00s elapsed, 40s left",
        "sampling: step 90 of 100 (90%), 1m30s elapsed, 10s left",
        "sampling: step 100 of 100 (100%), 1m40s elapsed",
    ]


def test_a_resumed_run_does_not_count_steps_it_never_took(clock: list[float]) -> None:
    """Catches a rate that makes the rest look a hundred times shorter."""
    stream = io.StringIO()
    tell = Lines("a", stream, every=10.0)
    clock[0] += 10
    tell(900, 1000)
    clock[0] += 10
    tell(910, 1000)
    assert stream.getvalue().splitlines()[-1].endswith("20s elapsed, 1m30s left")


def test_a_run_that_stops_early_says_where(clock: list[float]) -> None:
    stream = io.StringIO()
    tell = Lines("a", stream)
    tell(30, 100)
    clock[0] += 5
    assert stream.getvalue() == ""
    tell.close()
    tell.close()
    assert stream.getvalue() == "a: step 30 of 100 (30%), 5s elapsed\n"


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    tell = bar("sampling", stream)
    assert isinstance(tell, Bar)
    tell(64, 128)
    tell(128, 128)
    tell.close()
    assert "sampling: 100%" in stream.getvalue()


def test_durations_are_short() -> None:
    assert [duration(s) for s in (0.4, 42, 59.6, 187, 7500)] == [
        "0s",
        "42s",
        "1m00s",
        "3m07s",
        "2h05m",
    ]
