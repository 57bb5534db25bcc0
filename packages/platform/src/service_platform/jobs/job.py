"""Jobs: functions of a service that are run later, each with how it is tried and how often.

    jobs = Jobs()

    @jobs.job(attempts=5, timeout_seconds=30)
    async def send_welcome(context: JobContext, account_id: UUID) -> None: ...

    @jobs.job(cron="0 3 * * *")
    async def clean(context: JobContext) -> None: ...

What a job writes through `context.session` is committed with the record that the job succeeded:
exactly once. Whatever else it does is done at least once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from service_platform.jobs.context import JobContext
from service_platform.jobs.cron import Missed, check_cron
from service_platform.jobs.signature import JobDefinitionError, JobSignature

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

ATTEMPTS: Final = 10
"""Of a job that says no number; with the usual pauses the last is some minutes after the first."""
MAX_BYTES: Final = 65_536


@dataclass(frozen=True)
class Job(Generic[P, R_co]):
    """A job of a service; made by `Jobs.job`, enqueued by `enqueue`.

    Attributes:
        name: in the database, the metrics and the logs.
        function: does the work.
        signature: what it takes and returns.
        attempts: failures after which it is a dead letter.
        retry_seconds: pause after the first failure, doubled by each further one up to an hour; a
            random part of it, up to a half, is left out.
        timeout_seconds: limit of one attempt.
        concurrency: how many may run at once in all workers together; `None` for any number.
        cron: when it is enqueued by itself, in UTC; `None` for a job without a schedule.
        missed: what is done about ticks at which no worker was there.
        priority: of what is enqueued; greater goes first.
        delay: until what is enqueued may begin.
        unique_key: while a job of this name and key waits or runs, no second one is enqueued.
    """

    name: str
    function: Callable[Concatenate[JobContext, P], Awaitable[R_co]]
    signature: JobSignature
    attempts: int = ATTEMPTS
    retry_seconds: float = 1.0
    timeout_seconds: float = 300.0
    concurrency: int | None = None
    cron: str | None = None
    missed: Missed = Missed.ONCE
    priority: int = 0
    delay: timedelta = timedelta()
    unique_key: str | None = None

    async def __call__(self, context: JobContext, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function as any other."""
        return await self.function(context, *args, **kwargs)

    def with_options(
        self,
        *,
        delay: timedelta | None = None,
        priority: int | None = None,
        unique_key: str | None = None,
    ) -> "Job[P, R_co]":
        """Return the job to be enqueued in another way: `enqueue(session, job.with_options(…))`.

        Args:
            delay: until it may begin.
            priority: greater goes first; 0 is usual.
            unique_key: while a job of this name and key waits or runs, no second one is enqueued.
        """
        return replace(
            self,
            delay=self.delay if delay is None else delay,
            priority=self.priority if priority is None else priority,
            unique_key=self.unique_key if unique_key is None else unique_key,
        )


class Jobs:
    """The jobs of a service.

    Attributes:
        by_name: all of them.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Job[Any, Any]] = {}

    def job(
        self,
        *,
        name: str | None = None,
        attempts: int = ATTEMPTS,
        retry_seconds: float = 1.0,
        timeout_seconds: float = 300.0,
        concurrency: int | None = None,
        max_bytes: int = MAX_BYTES,
        cron: str | None = None,
        missed: Missed = Missed.ONCE,
    ) -> Callable[[Callable[Concatenate[JobContext, P], Awaitable[R_co]]], Job[P, R_co]]:
        """Make a job of the decorated function; what is not told here see `Job`.

        Args:
            name: the function's where omitted. Jobs in the database are found by it: a function
                that is renamed keeps its old name here.
            attempts: failures after which it is a dead letter.
            retry_seconds: pause after the first failure.
            timeout_seconds: limit of one attempt.
            concurrency: how many may run at once in all workers together.
            max_bytes: limit of the arguments, and of the result, as JSON.
            cron: five fields, or six beginning with seconds.
            missed: what is done about missed ticks.

        Raises:
            JobDefinitionError: there is a job of this name, or the function cannot be a job.
        """

        def register(
            function: Callable[Concatenate[JobContext, P], Awaitable[R_co]],
        ) -> Job[P, R_co]:
            known_as = name or str(getattr(function, "__name__", ""))
            if known_as in self.by_name:
                raise JobDefinitionError(f"There are two jobs named {known_as}; rename one.")
            signature = JobSignature(known_as, function, max_bytes)
            if cron is not None:
                check_cron(known_as, cron)
                if required := signature.required():
                    raise JobDefinitionError(
                        f"{known_as} has a schedule, so {required[0]} needs a default."
                    )
            job = Job(
                known_as,
                function,
                signature,
                attempts=attempts,
                retry_seconds=retry_seconds,
                timeout_seconds=timeout_seconds,
                concurrency=concurrency,
                cron=cron,
                missed=missed,
            )
            self.by_name[known_as] = job
            return job

        return register


__all__ = ["ATTEMPTS", "Job", "Jobs"]
