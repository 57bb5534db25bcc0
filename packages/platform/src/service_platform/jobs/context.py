"""What a job is run with, and what travels with it from the request that enqueued it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.context import RequestContext, current, current_context
from service_platform.database import Database
from service_platform.jobs import store
from service_platform.resources import Resource
from service_platform.settings import PlatformSettings
from service_platform.telemetry.propagation import trace_attributes

T = TypeVar("T")

MAX_LOCALE_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of the request for which a job is done.

    Attributes:
        account: that sent the request; a client may read the jobs of its account.
        locale: the `Accept-Language` of the request.
        request_id: of the request.
        traceparent: the span in which the job was enqueued (W3C Trace Context).
        tracestate: of the same.
    """

    account: str | None = None
    locale: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    @classmethod
    def of_current_work(cls) -> "Origin":
        """Take it from the request, or from the job, in which this code runs."""
        request = current_context()
        trace = trace_attributes(request)
        job = current_job.get()
        account = None if job is None else job.origin.account
        locale = None
        if request is not None:
            locale = request.headers.get(b"accept-language", b"").decode("latin-1")
            if request.principal is not None:
                account = str(request.principal.subject)
        return cls(
            account=account,
            locale=(locale or "")[:MAX_LOCALE_LENGTH] or None,
            request_id=None if request is None else request.request_id,
            traceparent=trace.get("traceparent"),
            tracestate=trace.get("tracestate"),
        )

    def as_json(self) -> dict[str, str]:
        """Return what is stored beside the account, which has a column of its own."""
        stored = {
            "locale": self.locale,
            "request_id": self.request_id,
            "traceparent": self.traceparent,
            "tracestate": self.tracestate,
        }
        return {name: value for name, value in stored.items() if value is not None}

    @classmethod
    def of_json(cls, account: str | None, stored: Mapping[str, Any]) -> "Origin":
        """Read what is stored."""
        return cls(
            account=account,
            locale=stored.get("locale"),
            request_id=stored.get("request_id"),
            traceparent=stored.get("traceparent"),
            tracestate=stored.get("tracestate"),
        )

    def headers(self) -> dict[bytes, bytes]:
        """Return the headers of the request that the job goes on with."""
        named = {
            b"accept-language": self.locale,
            b"x-request-id": self.request_id,
            b"traceparent": self.traceparent,
            b"tracestate": self.tracestate,
        }
        return {name: value.encode("latin-1") for name, value in named.items() if value is not None}


class JobContext:
    """What a job is run with.

    Attributes:
        id: of the job.
        attempt: 1 at the first; a job that was broken off begins again with the next.
        session: of the job's transaction. It is committed with the record that the job succeeded,
            and must not be committed by the job itself. Its first statement takes a connection.
        database: for transactions of the job's own, such as the steps of much work; and for a job
            that waits for others for long and must not hold a connection meanwhile.
        origin: request id, trace, account and locale of the request that enqueued it.
        tick: the time its schedule says, which may be a bit ago; `None` without a schedule.
    """

    def __init__(
        self,
        *,
        id: UUID,  # noqa: A002 - as everywhere
        attempt: int,
        session: AsyncSession,
        database: Database,
        origin: Origin,
        tick: datetime | None = None,
        resources: Sequence[Resource] = (),
    ) -> None:
        self.id = id
        self.attempt = attempt
        self.session = session
        self.database = database
        self.origin = origin
        self.tick = tick
        self._resources = resources

    def resource(self, kind: type[T]) -> T:
        """Return the resource of this class among those the worker was given.

        Raises:
            LookupError: there is none.
        """
        for each in self._resources:
            if isinstance(each, kind):
                return each
        raise LookupError(f"Give JobWorker a {kind.__name__}: resources=[...].")

    async def set_progress(self, fraction: float) -> None:
        """Tell how much is done, from 0 to 1, at once: in a transaction of its own."""

        async def tell(session: AsyncSession) -> None:
            await store.set_progress(session, self.id, self.attempt, min(max(fraction, 0.0), 1.0))

        await self.database.run(tell)


current_job: ContextVar[JobContext | None] = ContextVar("current_job", default=None)


@contextmanager
def as_work_of(
    context: JobContext, settings: PlatformSettings, timeout_seconds: float
) -> Iterator[None]:
    """Run the block as a continuation of the request that enqueued the job.

    Log lines, calls of other services, events and further jobs have its ids.
    """
    request = RequestContext(
        {"type": "job", "path": ""},
        context.origin.headers(),
        settings=settings,
        deadline=asyncio.get_running_loop().time() + timeout_seconds,
    )
    request_token, job_token = current.set(request), current_job.set(context)
    try:
        yield
    finally:
        current_job.reset(job_token)
        current.reset(request_token)


__all__ = ["JobContext", "Origin", "as_work_of", "current_job"]
