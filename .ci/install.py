"""Makes ``.venv`` from ``requirements.lock``; does nothing, quickly, when it already matches.

``python3 .ci/install.py`` is the first step of every ``make`` target. The environment counts as
made only when its stamp says so. The stamp is written last and holds a hash of everything the
environment depends on: the lock, ``pyproject.toml`` and the folder. So a changed lock is installed,
an interrupted install is never taken as done, and a moved clone is made anew. To change the Python
under an environment, delete ``.venv``.

Only the standard library is used, and the file parses on Pythons older than the one it asks for.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "stagewise-stamp.json"
LOG = VENV / "install.log"
OLDEST = (3, 11)
MILESTONES = (0.25, 0.5, 0.75)


def identity(root=ROOT):
    """Returns what the environment depends on, split into its folder and its contents."""
    contents = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        contents.update((root / name).read_bytes())
    return {"folder": str(root), "contents": contents.hexdigest()}


def action(found, wanted):
    """Says what a stamp calls for: "nothing", "update" (same folder) or "rebuild"."""
    if found == wanted:
        return "nothing"
    if found is not None and found.get("folder") == wanted["folder"]:
        return "update"
    return "rebuild"


def read_stamp():
    """Returns the stamp, or None when the environment is missing, broken or half made."""
    try:
        found = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return None
    works = isinstance(found, dict) and (VENV / "bin" / "python").exists()
    return found if works else None


def newer_python():
    """Returns another interpreter on the path that is new enough, or None."""
    for minor in (13, 12, 11, 14):
        candidate = shutil.which("python3.{}".format(minor))
        if candidate and answers(candidate):
            return candidate
    return None


def answers(interpreter):
    """Tells whether an interpreter starts and is new enough (a pyenv shim may do neither)."""
    question = "import sys; sys.exit(sys.version_info < {!r})".format(OLDEST)
    return subprocess.call([interpreter, "-c", question], stderr=subprocess.DEVNULL) == 0


def require_python():
    """Ends with the remedy when this Python is too old or cannot make virtual environments."""
    if sys.version_info < OLDEST:
        other = newer_python()
        if other:
            os.execv(other, [other, *sys.argv])
        stop(
            "{} is Python {}.{}, and stagewise needs Python {}.{} or newer.\n"
            "Name another one: make PYTHON=/path/to/python3.12 paper".format(
                sys.executable, *sys.version_info[:2], *OLDEST
            )
        )
    try:
        import ensurepip  # noqa: F401  (Debian ships venv without it)
        import venv  # noqa: F401
    except ImportError as missing:
        stop(
            "{} cannot make virtual environments: its module {} is missing.\n"
            "On Debian and Ubuntu: apt install python3-venv. Or name another Python: "
            "make PYTHON=/path/to/python3.12 paper".format(sys.executable, missing.name)
        )


def say(text):
    """Prints one line of progress at once."""
    print(text, flush=True)


def stop(text):
    """Prints an error and ends."""
    sys.stderr.write("stagewise: {}\n".format(text))
    sys.exit(1)


def clear():
    """Empties the environment, except for the lock that this process holds and the log."""
    for entry in VENV.iterdir():
        if entry.name in ("install.lock", LOG.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(str(entry))
        else:
            entry.unlink()


def execute(log, lock, command, watch=None):
    """Runs a command with both streams in the log; ends with the log's tail when it fails.

    The command inherits the lock: should this process be killed, the next call of make waits for
    the pip that it left behind instead of installing beside it.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment.update(PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONNOUSERSITE="1")
    log.write("$ {}\n".format(" ".join(command)))
    process = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
        pass_fds=[lock.fileno()],
    )
    tail = []
    for line in process.stdout:
        log.write(line)
        log.flush()
        if " is ignored" not in line:
            tail = tail[-14:] + [line]
        if watch:
            watch(line)
    if process.wait() != 0:
        stop(
            "the installation failed; the end of .venv/install.log:\n\n{}\n"
            "Nothing is half done: mend the cause and run make again.".format("".join(tail))
        )


class Progress:
    """Turns pip's output into a handful of lines."""

    def __init__(self, total):
        """Starts at none of ``total`` packages."""
        self.total = total
        self.seen = 0
        self.waiting = list(MILESTONES)

    def __call__(self, line):
        """Counts one line of pip's output."""
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            self.seen += 1
            if self.waiting and self.seen >= self.waiting[0] * self.total:
                say("  {}% of the packages fetched".format(int(100 * self.waiting.pop(0))))
        elif line.startswith("Installing collected packages"):
            say("  all fetched; unpacking (a minute or two)")


def install(what, log, lock):
    """Makes or updates the environment, then installs the package itself, editable."""
    python = str(VENV / "bin" / "python")
    if what == "rebuild":
        clear()
        execute(log, lock, [sys.executable, "-m", "venv", str(VENV)])
    pip = [python, "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    total = sum("==" in line and "sys_platform == 'win32'" not in line for line in lines)
    # pip refuses hashes and an editable package in one call.
    execute(log, lock, [*pip, "--require-hashes", "-r", "requirements.lock"], Progress(total))
    execute(log, lock, [*pip, "--no-deps", "--no-build-isolation", "--no-index", "-e", "."])


def wait_for(lock):
    """Takes the lock, saying so when another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("stagewise: waiting for the installation that another process is doing")
        fcntl.flock(lock, fcntl.LOCK_EX)


def main():
    """Brings the environment up to date under a lock, so that two calls of make do not collide."""
    wanted = identity()
    if action(read_stamp(), wanted) == "nothing":
        return
    require_python()
    VENV.mkdir(exist_ok=True)
    with open(str(VENV / "install.lock"), "w") as lock:
        wait_for(lock)
        what = action(read_stamp(), wanted)
        if what == "nothing":
            return
        if what == "rebuild" and (VENV / "bin").exists():
            say("stagewise: .venv is from elsewhere or was left half made: it is made anew")
        say("stagewise: installing requirements.lock into .venv (about 5 GB once; a few minutes)")
        began = time.time()
        if STAMP.exists():
            STAMP.unlink()
        with open(str(LOG), "w") as log:
            install(what, log, lock)
        STAMP.write_text(json.dumps(wanted))
        say("stagewise: .venv is ready after {:.0f} s".format(time.time() - began))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("\nstagewise: interrupted; run make again to finish .venv\n")
        sys.exit(128 + signal.SIGINT)
    except OSError as problem:
        stop("cannot make .venv: {}. Is the disk full? About 6 GB are needed.".format(problem))
