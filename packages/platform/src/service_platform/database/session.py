"""What a route asks for: a unit of work, single reads, or the database itself.

WebSocket endpoints may ask, too.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from service_platform.database.reader import Reader
from service_platform.database.resource import Database


async def the_database(connection: HTTPConnection) -> Database:
    """The application's database."""
    database: Database = connection.app.state.database
    return database


async def the_reader(connection: HTTPConnection) -> Reader:
    """The application's reader."""
    reader: Reader = connection.app.state.database.reader
    return reader


async def unit_of_work(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """A session, committed when the endpoint returns and rolled back when it fails.

    The commit comes before the response is sent: a client that has seen a 201 can rely on it, and
    a commit that fails is answered as an error.
    """
    database: Database = connection.app.state.database
    async with database.session() as session:
        yield session
        await session.commit()


TheDatabase = Annotated[Database, Depends(the_database)]
"""For `await database.run(work)`, which runs a unit of work again after a deadlock."""

DbReader = Annotated[Reader, Depends(the_reader)]
"""Single reads without a transaction."""

DbSession = Annotated[AsyncSession, Depends(unit_of_work, scope="function")]
"""One transaction for the request, opened by its first statement."""

__all__ = ["DbReader", "DbSession", "TheDatabase"]
