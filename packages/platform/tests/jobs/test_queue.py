"""Enqueuing: in the transaction of the change, with what is known of the request."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from shop import jobs as shop
from shop.job_watching import column, enqueued, until_state
from shop.watching import rows
from sqlalchemy.exc import DBAPIError

from service_platform.context import RequestContext, current, current_context
from service_platform.database import Database
from service_platform.errors import ValidationFailed
from service_platform.errors.database import database_problem
from service_platform.jobs import (
    JobArgumentsError,
    JobContext,
    Jobs,
    JobSettings,
    JobTooLargeError,
    enqueue,
)


async def number_of_jobs(database: Database) -> int:
    return len(await rows(database, "SELECT id FROM jobs"))


async def test_a_job_is_there_if_and_only_if_the_transaction_commits(database: Database) -> None:
    async with database.session() as session:
        await enqueue(session, shop.note, number=1)
        await session.rollback()
    assert await number_of_jobs(database) == 0
    async with database.session() as session:
        await enqueue(session, shop.note, 1, what="positional, too")
        assert await number_of_jobs(database) == 0
        await session.commit()
    assert await rows(database, "SELECT arguments FROM jobs") == [
        {"number": 1, "what": "positional, too"}
    ]


@pytest.mark.parametrize(
    "arguments", [{}, {"number": "many"}, {"number": 1, "colour": "red"}], ids=str
)
async def test_arguments_that_do_not_fit_are_refused(
    database: Database, arguments: dict[str, Any]
) -> None:
    with pytest.raises(JobArgumentsError, match=r"^The arguments of note are wrong") as raised:
        await enqueued(database, shop.note, **arguments)
    assert "many" not in str(raised.value)
    assert await number_of_jobs(database) == 0


async def test_arguments_that_are_too_large_are_refused(database: Database) -> None:
    with pytest.raises(JobTooLargeError, match="65536: store large data where it belongs"):
        await enqueued(database, shop.note, number=1, what="x" * 65_536)
    assert await number_of_jobs(database) == 0


async def test_a_key_is_unique_until_its_job_ends(database: Database, worker: Any) -> None:
    keyed = shop.note.with_options(unique_key="one")
    first = await enqueued(database, keyed, number=1)
    assert await enqueued(database, keyed, number=2) == first
    other_name = await enqueued(database, shop.fail.with_options(unique_key="one"))
    assert other_name != first
    async with worker():
        await until_state(database, first, "succeeded")
        assert await enqueued(database, keyed, number=3) != first


async def test_a_key_that_another_transaction_is_using_waits_for_it(database: Database) -> None:
    keyed = shop.note.with_options(unique_key="one", delay=timedelta(hours=1))
    async with database.session() as session:
        first = await enqueue(session, keyed, number=1)
        second = asyncio.create_task(enqueued(database, keyed, number=2))
        await asyncio.sleep(0.1)
        assert not second.done()
        await session.commit()
    assert await second == str(first)


def request_context(settings: JobSettings, **headers: str) -> RequestContext:
    encoded = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return RequestContext({"type": "http", "path": "/"}, encoded, settings=settings)


async def test_request_trace_and_locale_travel_with_the_job_and_with_those_it_enqueues(
    database: Database, settings: JobSettings, worker: Any
) -> None:
    seen = []
    jobs = Jobs()

    @jobs.job()
    async def second(context: JobContext) -> None:
        seen.append((context.origin, current_context()))

    @jobs.job()
    async def first(context: JobContext) -> None:
        seen.append((context.origin, current_context()))
        await enqueue(context.session, second)

    request = request_context(
        settings,
        x_request_id="of-the-request",
        traceparent=f"00-{'a' * 32}-{'b' * 16}-00",
        accept_language="de-CH, de;q=0.9",
    )
    token = current.set(request)
    try:
        await enqueued(database, first)
    finally:
        current.reset(token)
    async with worker(jobs):
        async with asyncio.timeout(20):
            while len(seen) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    for origin, context in seen:
        assert context is not None
        assert origin.request_id == context.request_id == "of-the-request"
        assert context.trace_id == "a" * 32
        assert origin.locale == "de-CH, de;q=0.9"


async def test_without_a_request_nothing_travels(database: Database) -> None:
    job = await enqueued(database, shop.note, number=1)
    assert await column(database, job, "origin") == {}
    assert await column(database, job, "account") is None


async def test_a_text_with_a_null_character_is_the_callers_mistake(database: Database) -> None:
    async with database.session() as session:
        with pytest.raises(DBAPIError) as raised:
            await enqueue(session, shop.note, number=1, what="\x00")
    assert isinstance(database_problem(raised.value), ValidationFailed)
