"""Jobs of the shop, and the tables that the tests of jobs add to its database."""

import asyncio
from uuid import UUID

from fastapi import APIRouter, FastAPI, Request, Response
from sqlalchemy import BigInteger, Column, Identity, Integer, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.app import create_app as create_platform_app
from service_platform.database import Database, new_metadata
from service_platform.database.session import DbSession
from service_platform.errors import Conflict
from service_platform.identity import CurrentPrincipal, TokenVerifier
from service_platform.jobs import JobContext, Jobs, JobSettings, JobWorker, enqueue, job_tables
from service_platform.jobs.routes import ACCEPTED_RESPONSE, accepted, job_router
from service_platform.settings import load_settings

metadata = new_metadata()
job_tables(metadata)
effects = Table(
    "effects",
    metadata,
    Column("n", BigInteger, Identity(), primary_key=True),
    Column("number", Integer),
    Column("what", Text),
)

jobs = Jobs()


async def write(session: AsyncSession, number: int, what: str) -> None:
    await session.execute(
        text("INSERT INTO effects (number, what) VALUES (:number, :what)"),
        {"number": number, "what": what},
    )


@jobs.job(retry_seconds=0.05, attempts=3)
async def note(context: JobContext, number: int, what: str = "noted") -> int:
    """Has its effect in its transaction."""
    await write(context.session, number, what)
    return number


@jobs.job()
async def note_once(context: JobContext, number: int) -> None:
    """Has its effect in its transaction, and as many attempts as usual."""
    await write(context.session, number, "inside")
    await asyncio.sleep(0.03)


@jobs.job()
async def tell_outside(context: JobContext, number: int) -> None:
    """Has an effect that its transaction does not have, and then one that it has."""

    async def outside(session: AsyncSession) -> None:
        await write(session, number, "outside")

    await context.database.run(outside)
    await asyncio.sleep(0.03)
    await write(context.session, number, "inside")


@jobs.job(retry_seconds=0.05, attempts=3)
async def fail(context: JobContext, number: int = 0) -> None:
    """Fails after its effect, which is then undone."""
    await write(context.session, number, "never")
    raise ValueError("a secret value")


@jobs.job(retry_seconds=0.05, attempts=2)
async def lose_connection(context: JobContext) -> None:
    """Loses its connection each time, by its own fault."""
    await context.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@jobs.job(attempts=3)
async def refuse(context: JobContext) -> None:
    """Fails for good."""
    raise Conflict("The shop is closed.")


@jobs.job(timeout_seconds=0.1, attempts=1)
async def dawdle(context: JobContext) -> None:
    """Takes longer than it may."""
    await asyncio.sleep(60)


@jobs.job(concurrency=2)
async def queue_up(context: JobContext, number: int) -> None:
    """Tells how many of them run at once."""
    async with context.database.session() as session:
        await write(session, 1, "began")
        await session.commit()
        await asyncio.sleep(0.05)
        await write(session, -1, "ended")
        await session.commit()


@jobs.job()
async def wait_for_end(context: JobContext, seconds: float = 60.0) -> None:
    """Goes on for long, and tells that it does."""
    await context.set_progress(0.5)
    await asyncio.sleep(seconds)
    await write(context.session, context.attempt, "waited")


@jobs.job(max_bytes=1_000, attempts=1)
async def talk(context: JobContext, length: int) -> str:
    """Returns a long text."""
    return "x" * length


@jobs.job(cron="* * * * * *")
async def tick(context: JobContext) -> None:
    """Tells for which second it was run."""
    assert context.tick is not None
    await write(context.session, round(context.tick.timestamp()), "tick")


router = APIRouter(prefix="/shop", tags=["shop"])


@router.post("/notes", status_code=202, responses=ACCEPTED_RESPONSE)
async def create_note(
    caller: CurrentPrincipal, session: DbSession, request: Request, number: int, fails: bool = False
) -> Response:
    job_id: UUID = await enqueue(session, note, number=number)
    if fails:
        raise Conflict("After it was enqueued.")
    return accepted(request, job_id)


def create_app() -> FastAPI:
    settings = load_settings(JobSettings)
    database = Database(settings, migrations="shop.migrations")
    return create_platform_app(
        settings,
        routers=[router, job_router("/shop")],
        resources=[
            database,
            TokenVerifier(settings),
            JobWorker(settings, database, jobs),
        ],
    )
