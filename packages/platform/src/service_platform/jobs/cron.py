"""The ticks of a schedule, by the cron expression of a job; all times are UTC."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Final

from cronsim import CronSim, CronSimError

from service_platform.jobs.signature import JobDefinitionError

MISSED_AFTER: Final = timedelta(minutes=1)
MOST_MADE_UP: Final = 1_000
"""Ticks that are made up for at once, the newest; further ones are left out."""


class Missed(StrEnum):
    """What is done about ticks of a schedule at which no worker was there.

    Attributes:
        ONCE: the job is run once for all of them.
        SKIP: they are left out; a tick counts as missed when it is a minute late.
        ALL: the job is run for each of them.
    """

    ONCE = "once"
    SKIP = "skip"
    ALL = "all"


def check_cron(name: str, cron: str) -> None:
    """Check the cron expression of a job.

    Raises:
        JobDefinitionError: it is none, or never comes.
    """
    try:
        next_tick(cron, datetime.now(UTC))
    except (CronSimError, StopIteration) as error:
        reason = str(error) or "It never comes"
        raise JobDefinitionError(f"The cron of {name} is wrong: {cron!r}. {reason}.") from None


def next_tick(cron: str, after: datetime) -> datetime:
    """Return the first tick after a time."""
    return next(CronSim(cron, after))


def due_ticks(cron: str, missed: Missed, first: datetime, now: datetime) -> list[datetime]:
    """Return the ticks for which a job is enqueued now, oldest first.

    Args:
        cron: of the schedule.
        missed: what is done about those nobody was there for.
        first: the oldest tick nothing was done about; not later than now.
        now: the time.
    """
    latest = max(next(_backwards(cron, now)), first)
    if missed is Missed.ALL:
        newest = takewhile(lambda tick: tick >= first, _backwards(cron, now))
        return [tick for tick, _ in zip(newest, range(MOST_MADE_UP), strict=False)][::-1]
    if missed is Missed.SKIP and now - latest > MISSED_AFTER:
        return []
    return [latest]


def _backwards(cron: str, now: datetime) -> Iterator[datetime]:
    """Return the ticks that have come, newest first."""
    return CronSim(cron, now.replace(microsecond=0) + timedelta(seconds=1), reverse=True)


__all__ = ["Missed", "check_cron", "due_ticks", "next_tick"]
