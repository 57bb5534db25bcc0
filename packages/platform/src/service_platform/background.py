"""Supervises the background tasks of a resource: none of them ends in silence.

    self._tasks = TaskSupervisor("broadcast")

    async def start(self) -> None:
        self._tasks.every(1.0, self._publish, wake=self._wanted)

    async def stop(self) -> None:
        await self._tasks.stop()

    async def check(self) -> None:
        self._tasks.check()

A task that fails, returns or is cancelled by a library is logged, counted, reported by `check` and
restarted, after a pause that grows with every failure in a row.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
from opentelemetry.context import Context
from prometheus_client import Counter
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service_platform.cancellation import cancel_and_wait
from service_platform.errors.database import database_problem
from service_platform.logging import get_logger
from service_platform.resources import HealthCheckError
from service_platform.telemetry.tracing import span

FIRST_BACKOFF_SECONDS: Final = 0.1
LONGEST_BACKOFF_SECONDS: Final = 5.0
SETTLED_SECONDS: Final = 5.0
"""A task without an end counts as recovered when it has run this long."""

TRACED_FROM_SECONDS: Final = 30.0

failures = Counter("background_task_failures_total", "Failures of background tasks.", ("task",))

log = get_logger("service_platform.background")

Work = Callable[[], Awaitable[None]]


def in_trace(name: str, work: Work) -> Work:
    """Return work that is done in a trace of its own."""

    async def traced_work() -> None:
        with span(name, context=Context()):
            await work()

    return traced_work


class TaskEndedError(Exception):
    """Work that should go on for ever returned."""


class TaskSupervisor:
    """Runs the background tasks of one resource and restarts those that fail.

    Args:
        name: of the resource; begins the names of its tasks and the reason `check` gives.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._supervised: list[_SupervisedTask] = []

    def run(self, work: Work) -> None:
        """Start work that has no end; when it fails or returns it is started again."""
        self._start(_SupervisedTask(self._task_name(work), work))

    def every(
        self,
        seconds: float,
        work: Work,
        *,
        wake: asyncio.Event | None = None,
        traced: bool | None = None,
    ) -> None:
        """Start work that is done at once and then again and again.

        Args:
            seconds: pause between the end of one time and the next, give or take a fifth, so that
                replicas that started together need not all come at once. After a failure the pause
                is shorter where the backoff is.
            work: what to do each time.
            wake: ends the pause after a success early when it is set; cleared before the work.
            traced: whether each time is a trace of its own; by default where that is not more often
                than every `TRACED_FROM_SECONDS`, because a poll makes many traces of nothing.
        """
        name = self._task_name(work)
        if seconds >= TRACED_FROM_SECONDS if traced is None else traced:
            work = in_trace(name, work)
        self._start(_PeriodicTask(name, work, seconds, wake))

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended."""
        for supervised in self._supervised:
            supervised.stopping = True
        await cancel_and_wait(*(supervised.task for supervised in self._supervised))
        self._supervised.clear()

    def check(self) -> None:
        """Report failing tasks to the health check.

        Raises:
            HealthCheckError: while the last try of a task is a failure, or where a task has ended.
        """
        if any(supervised.is_failing for supervised in self._supervised):
            raise HealthCheckError(f"{self._name}_failing")

    def _start(self, supervised: "_SupervisedTask") -> None:
        supervised.start()
        self._supervised.append(supervised)

    def _task_name(self, work: Work) -> str:
        return f"{self._name}:{getattr(work, '__name__', 'work').strip('_')}"


class _SupervisedTask:
    """Work without an end and the loop that restarts it."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self.stopping = False
        self.task: asyncio.Task[None] | None = None
        self._work = work
        self._failures_in_a_row = 0
        self._last_error = ""

    @property
    def is_failing(self) -> bool:
        """Whether the last try failed, or nothing tries any more."""
        return self._failures_in_a_row > 0 or self.task is None or self.task.done()

    def start(self) -> None:
        """Begin."""
        self.task = asyncio.create_task(self._loop(), name=self.name)
        self.task.add_done_callback(self._ended)

    async def _loop(self) -> None:
        while True:
            settled = asyncio.get_running_loop().call_later(SETTLED_SECONDS, self._succeeded)
            try:
                error = await self._failure() or TaskEndedError("The work returned.")
            finally:
                settled.cancel()
            self._failed(error)
            await asyncio.sleep(self._backoff())

    async def _failure(self) -> BaseException | None:
        """Do the work once; returns what it failed with."""
        try:
            await self._work()
        except asyncio.CancelledError as error:
            # Libraries cancel what they wait for; only a request to this task ends it.
            current = asyncio.current_task()
            if self.stopping or current is None or current.cancelling():
                raise
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
            return error
        return None

    def _failed(self, error: BaseException) -> None:
        self._failures_in_a_row += 1
        failures.labels(self.name).inc()
        kind = type(error).__name__
        if kind == self._last_error:
            return
        self._last_error = kind
        if is_outage(error):
            log.warning("background_task_failed", task=self.name, error=kind)
        else:
            log.error("background_task_failed", task=self.name, error=kind, exc_info=error)

    def _succeeded(self) -> None:
        if self._failures_in_a_row:
            log.info("background_task_recovered", task=self.name, failures=self._failures_in_a_row)
        self._failures_in_a_row = 0
        self._last_error = ""

    def _backoff(self) -> float:
        doubled = FIRST_BACKOFF_SECONDS * float(2 ** min(self._failures_in_a_row - 1, 16))
        longest = min(doubled, LONGEST_BACKOFF_SECONDS)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.stopping:
            return
        error = None if task.cancelled() else task.exception()
        log.error("background_task_ended", task=self.name, exc_info=error)


class _PeriodicTask(_SupervisedTask):
    """Work that is done again and again."""

    def __init__(self, name: str, work: Work, seconds: float, wake: asyncio.Event | None) -> None:
        super().__init__(name, work)
        self._seconds = seconds
        self._wake = wake or asyncio.Event()

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            error = await self._failure()
            if error is None:
                self._succeeded()
                await self._pause()
            else:
                self._failed(error)
                await asyncio.sleep(min(self._backoff(), self._seconds))

    async def _pause(self) -> None:
        seconds = self._seconds * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass


def is_outage(error: BaseException) -> bool:
    """Say whether the database or Redis is away, rather than the code wrong."""
    if isinstance(error, SQLAlchemyError):
        return database_problem(error) is not None
    return isinstance(error, RedisError | OSError | asyncpg.PostgresError | asyncpg.InterfaceError)


__all__ = ["TaskEndedError", "TaskSupervisor", "is_outage"]
