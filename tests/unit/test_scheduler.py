"""The scheduler's looks for jobs to start."""

import threading

from snakemake.scheduling.job_scheduler import JobScheduler

from stagewise.cli.scheduler import look_once


class Scheduler:
    """Counts how often it is told to look."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)
        self._open_jobs = self.looks

    def told(self, seconds: float) -> bool:
        return self.looks.acquire(timeout=seconds)


def test_many_reasons_to_look_end_in_one_look() -> None:
    """What Snakemake's own method fails: it would look ten times."""
    scheduler = Scheduler()
    for _ in range(10):
        look_once(scheduler, 0.05)
    assert scheduler.told(5.0)
    assert not scheduler.told(0.2)


def test_every_look_may_ask_for_the_next_one() -> None:
    """Catches a chain that breaks: jobs over the limit of a second would never start."""
    scheduler = Scheduler()
    for _ in range(100):
        look_once(scheduler, 0.0)
        assert scheduler.told(5.0)


def test_a_long_delay_does_not_put_off_a_short_one() -> None:
    scheduler = Scheduler()
    look_once(scheduler, 60.0)
    look_once(scheduler, 0.0)
    assert scheduler.told(5.0)


def test_snakemake_still_has_what_is_replaced() -> None:
    assert callable(JobScheduler._schedule_reevalutation)
