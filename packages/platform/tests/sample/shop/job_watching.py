"""For tests of jobs: enqueues them and looks at what became of them."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.jobs import Job, enqueue
from shop.watching import rows, until


async def enqueued(database: Database, job: Job[..., Any], **arguments: Any) -> str:
    """Enqueue a job in a transaction of its own; returns its id."""

    async def work(session: AsyncSession) -> str:
        return str(await enqueue(session, job, **arguments))

    return await database.run(work)


async def column(database: Database, job_id: str, name: str = "state") -> Any:
    """A column of a job."""
    statement = f"SELECT {name} FROM jobs WHERE id = CAST(:id AS uuid)"
    [found] = await rows(database, statement, id=job_id)
    return found


async def until_state(database: Database, job_id: str, state: str) -> None:
    async def so() -> bool:
        return bool(await column(database, job_id) == state)

    await until(so)


async def effects(database: Database) -> list[Any]:
    return await rows(database, "SELECT number, what FROM effects ORDER BY n")
