"""Runs a command beside a Slurm of one node made for it: ``cluster.py pytest tests/cluster``.

Needs root on Debian, or on what descends from it, and no systemd: it installs the packages if they
are missing, starts munge, slurmctld and slurmd, runs the command, and leaves nothing behind but the
packages. Elsewhere it says why it stops. A machine that has a Slurm of its own is left alone.

Two files that every machine has stand in for GPUs: Slurm lends each to one job at a time, which
finds its number in CUDA_VISIBLE_DEVICES.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

MARK = "# Written by .ci/cluster.py of stagewise, which deletes it at its end.\n"
CONFIG = Path("/etc/slurm/slurm.conf")
DEVICES = CONFIG.with_name("gres.conf")
RUN = Path("/run/stagewise-slurm")
LOCK = RUN.with_suffix(".lock")
MUNGE_RUN = Path("/run/munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
DAEMONS = ("slurmctld", "slurmd", "slurmstepd")
GPUS = ("/dev/null", "/dev/zero")
#: More than most machines have: a group of jobs asks for two and works on one, and mostly waits for
#: Slurm or for the start of a Python.
CPUS = 8
START_SECONDS = 60.0
STOP_SECONDS = 20.0

#: Jobs are told apart by their process trees, since a container may not make cgroups. Sizes are
#: promised, not measured: jobs at tiny size ask for more memory than they need, and a machine for
#: tests may have less.
SETTINGS = """\
ClusterName=stagewise
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
AccountingStorageType=accounting_storage/none
MinJobAge=300
KillWait=5
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd.pid
SlurmctldLogFile={run}/slurmctld.log
SlurmdLogFile={run}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Refusal(Exception):
    """Why no Slurm can be started here; the message names the remedy."""


def main(command: list[str]) -> int:
    """Starts Slurm, runs `command` and returns its status; 1 with a reason if there is no Slurm."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = False
    try:
        refuse_elsewhere()
        hold()
        install()
        stop()
        try:
            started = start()
            return run(command)
        finally:
            stop()
            if started:
                subprocess.call(["munged", "--stop"], stderr=subprocess.DEVNULL)
    except Refusal as reason:
        print(f"test-cluster: {reason}", file=sys.stderr)
        return 1


def refuse_elsewhere() -> None:
    """Stops where a Slurm can't be started or would be in the way of a real one.

    Raises:
        Refusal: The user isn't root, or the machine has another Slurm.
    """
    if os.geteuid() != 0:
        raise Refusal(
            "it starts a Slurm of its own and must be root for that; as another user, run it in a "
            "container, or only `make test`"
        )
    if CONFIG.exists() and not is_ours():
        raise Refusal(f"{CONFIG} is of another Slurm; run it where there is none")
    if not CONFIG.exists() and (others := [process.pid for process in daemons()]):
        raise Refusal(f"another Slurm runs (process {others[0]}); run it where there is none")


def hold() -> int:
    """Takes the lock of this program until the process ends, and returns its descriptor.

    Raises:
        Refusal: Another one works on this machine.
    """
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refusal(f"another one runs on this machine and holds {LOCK}; wait for it") from None
    return lock


def is_ours() -> bool:
    """Tells whether the configuration that Slurm would read was written here."""
    return CONFIG.exists() and CONFIG.read_text(encoding="utf-8").startswith(MARK)


def install() -> None:
    """Installs the Debian packages if a program is missing.

    Raises:
        Refusal: There is no apt-get, or it fails.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise Refusal(f"{', '.join(missing)} missing, and no apt-get: install Slurm and munge")
    print("test-cluster: installing slurm-wlm and munge", flush=True)
    packages = ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]
    for arguments in (["update"], packages):
        call = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *arguments]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Refusal(f"`{' '.join(call)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")


def start() -> bool:
    """Starts the daemons and waits for the node; returns whether munge was started too.

    Raises:
        Refusal: The node isn't ready in time; the message ends with the daemons' logs.
    """
    (RUN / "state").mkdir(parents=True)
    (RUN / "spool").mkdir()
    host = socket.gethostname().partition(".")[0]
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    settings = SETTINGS.format(host=host, run=RUN, cpus=CPUS, gpus=len(GPUS))
    CONFIG.write_text(MARK + settings, encoding="utf-8")
    DEVICES.write_text(MARK + "".join(f"Name=gpu File={path}\n" for path in GPUS))
    started = not munge_answers()
    if started:
        MUNGE_RUN.mkdir(exist_ok=True)
        shutil.chown(MUNGE_RUN, "munge", "munge")
        subprocess.run(["runuser", "--user", "munge", "--", "munged"], check=False)
        await_or_explain(munge_answers, "munge")
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon], check=False)
    await_or_explain(lambda: ask("sinfo", "--noheader", "--format=%t").strip() == "idle", "Slurm")
    return started


def run(command: list[str]) -> int:
    """Runs a command to its end; if this process ends first, so does what it has started."""
    process = psutil.Popen(command)
    try:
        return process.wait()
    except BaseException:
        for started in (*process.children(recursive=True), process):
            started.kill()
        raise


def stop() -> None:
    """Ends all jobs and the daemons, of this call or of one that was killed, and their files."""
    if is_ours():
        if ask("sinfo", "--noheader", "--format=%t"):
            ask("scancel", "--quiet", "--user=root")
            wait_until(lambda: not ask("squeue", "--noheader").strip(), STOP_SECONDS)
        for daemon in daemons():
            end(daemon)
        CONFIG.unlink()
        DEVICES.unlink(missing_ok=True)
    shutil.rmtree(RUN, ignore_errors=True)


def daemons() -> Iterator[psutil.Process]:
    """Yields the daemons of Slurm on this machine, those first that would start others."""
    found = list(psutil.process_iter(["name"]))
    for name in DAEMONS:
        yield from (process for process in found if (process.info["name"] or "").startswith(name))


def end(daemon: psutil.Process) -> None:
    """Kills a daemon and what it has started."""
    try:
        for process in (daemon, *daemon.children(recursive=True)):
            process.kill()
        daemon.wait(STOP_SECONDS)
    except psutil.NoSuchProcess:
        return


def munge_answers() -> bool:
    """Tells whether a credential can be made."""
    return bool(ask("munge", "--no-input"))


def ask(*command: str) -> str:
    """Returns what a command prints; nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits until a condition holds; returns whether it does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def await_or_explain(condition: Callable[[], bool], what: str) -> None:
    """Waits for a daemon.

    Raises:
        Refusal: It isn't ready in time; the message ends with the logs.
    """
    if not wait_until(condition, START_SECONDS):
        logs = "".join(path.read_text(errors="replace")[-2000:] for path in RUN.glob("*.log"))
        raise Refusal(f"{what} does not answer after {START_SECONDS:.0f} s:\n{logs}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
