"""Dependencies of routes: a session in a transaction, single reads, or the database itself.

WebSocket endpoints may ask, too.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from service_platform.database.reader import Reader
from service_platform.database.resource import Database


async def get_database(connection: HTTPConnection) -> Database:
    """Return the application's database."""
    database: Database = connection.app.state.database
    return database


async def get_reader(connection: HTTPConnection) -> Reader:
    """Return the application's reader."""
    reader: Reader = connection.app.state.database.reader
    return reader


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """Open a session, committed when the endpoint returns and rolled back when it fails.

    The commit comes before the response is sent: a client that has seen a 201 can rely on it, and
    a commit that fails is answered as an error.
    """
    database: Database = connection.app.state.database
    async with database.session() as session:
        yield session
        await session.commit()


TheDatabase = Annotated[Database, Depends(get_database)]
"""For `await database.run(work)`, which runs a unit of work again after a deadlock."""

DbReader = Annotated[Reader, Depends(get_reader)]
"""Single reads without a transaction."""

DbSession = Annotated[AsyncSession, Depends(get_session, scope="function")]
"""One transaction for the request, opened by its first statement."""

__all__ = ["DbReader", "DbSession", "TheDatabase"]
