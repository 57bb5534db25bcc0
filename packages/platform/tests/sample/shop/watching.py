"""For tests of what goes on in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from service_platform.database import Database

WAIT_SECONDS = 20.0


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Return when it is so; a test in which it never is ends here."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 - another process may make it so
            await asyncio.sleep(0.01)


async def rows(database: Database, sql: str, **parameters: Any) -> list[Any]:
    """What a statement finds; of one column its values, of several tuples."""
    async with database.engine.connect() as connection:
        found = (await connection.execute(text(sql), parameters)).all()
    return [row[0] if len(row) == 1 else tuple(row) for row in found]
