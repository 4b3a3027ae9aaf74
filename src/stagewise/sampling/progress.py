"""How far a run has come: a bar on a terminal, plain lines in a log."""

import sys
import time
from io import TextIOBase

from tqdm import tqdm

#: Least seconds between two plain lines.
LINE_EVERY = 30.0


class Bar:
    """A bar on a terminal: steps, rate, time left."""

    def __init__(self, label: str, stream: TextIOBase) -> None:
        """Draw nothing yet: the number of steps comes with the first call."""
        self._label, self._stream = label, stream
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        """Move the bar to ``done`` steps of ``total``."""
        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._label, unit="step", file=self._stream)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it stands and end the line."""
        if self._bar is not None:
            self._bar.close()


class Lines:
    """Plain lines, one every ``every`` seconds and one at the end, each whole and flushed.

    The time left is taken from the steps since the first call, so that a resumed run doesn't count
    the steps that it never took.
    """

    def __init__(self, label: str, stream: TextIOBase, every: float = LINE_EVERY) -> None:
        """Start the clock."""
        self._label, self._stream, self._every = label, stream, every
        self._begun = self._shown = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._last: tuple[int, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Note ``done`` steps of ``total``; say so if enough time has passed or all is done."""
        now = time.monotonic()
        self._first = self._first or (now, done)
        self._last = done, total
        if done >= total or now - self._shown >= self._every:
            self._show(now)

    def close(self) -> None:
        """Say where a run that stopped early stands."""
        if self._last is not None:
            self._show(time.monotonic())

    def _show(self, now: float) -> None:
        if self._last is None or self._first is None:
            return
        done, total = self._last
        begun, first = self._first
        text = f"{self._label}: step {done} of {total} ({done / total:.0%})"
        text += f", {duration(now - self._begun)} elapsed"
        if first < done < total:
            text += f", {duration((now - begun) / (done - first) * (total - done))} left"
        print(text, file=self._stream, flush=True)
        self._shown, self._last = now, None


def bar(label: str, stream: TextIOBase | None = None, every: float = LINE_EVERY) -> Bar | Lines:
    """Return a progress callback (steps taken, steps in all), for the runner and ``sample_losses``.

    Args:
        label: What is running.
        stream: Where to write; stderr by default.
        every: Least seconds between two plain lines.

    Returns:
        A bar if the stream is a terminal, else plain lines; ``close`` ends either.
    """
    stream = sys.stderr if stream is None else stream
    return Bar(label, stream) if stream.isatty() else Lines(label, stream, every)


def duration(seconds: float) -> str:
    """Return a time as "42s", "3m07s" or "2h05m"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes_left:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
