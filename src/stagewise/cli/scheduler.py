"""Snakemake as it is, but for a leak in its scheduler that costs up to half a core.

``stagewise.cli.workflow`` ends by becoming ``python -m stagewise.cli.scheduler``. To keep to a
limit of jobs per second, Snakemake 9.27 looks again for jobs to start one second after every look.
A job that ends is a reason to look as well, and from then on there is one more chain of looks, for
ever: after 300 jobs, 300 looks a second. Here at most one look is pending for each delay.
"""

import sys
import threading
from typing import Any

import snakemake.cli
from snakemake.scheduling.job_scheduler import JobScheduler


def look_once(self: Any, delay: float) -> None:
    """Has the scheduler look again after `delay` seconds, unless it is about to do so in any case.

    Replaces ``JobScheduler._schedule_reevalutation``, spelled as it is there.
    """
    pending = self.__dict__.setdefault("_pending_looks", set())
    if delay in pending:
        return
    pending.add(delay)

    def look() -> None:
        pending.discard(delay)  # first: the look may ask for the next one
        self._open_jobs.release()

    timer = threading.Timer(delay, look)
    timer.daemon = True  # nothing waits for a look after the last job
    timer.start()


def main() -> None:
    """Becomes Snakemake with the arguments of this process; does not return."""
    JobScheduler._schedule_reevalutation = look_once
    snakemake.cli.main()


if __name__ == "__main__":
    sys.exit(main())
