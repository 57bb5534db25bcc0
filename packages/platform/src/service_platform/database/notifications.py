"""Listens for notifications of PostgreSQL (LISTEN), on a connection of its own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from service_platform.database.connector import Connector
from service_platform.errors.database import DatabaseUnavailableError
from service_platform.settings import PlatformSettings

PRIMARY_CHECK_SECONDS: Final = 10.0
"""How often the server that sends notifications is asked whether it is still the primary."""
IS_STANDBY: Final = "SELECT pg_is_in_recovery()"


async def listen(
    settings: PlatformSettings,
    channel: str,
    notify: Callable[[], object],
    *,
    reconnect_seconds: float,
) -> None:
    """Listen for ever; not through a pooler, whose sessions cannot.

    Args:
        settings: address of the database.
        channel: what to listen to.
        notify: called for each notification, and when listening begins: for what came before.
        reconnect_seconds: pause before the next try where the connection is lost.
    """
    connector = Connector(settings)
    while True:
        with contextlib.suppress(
            DatabaseUnavailableError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError
        ):
            await _listen_on(connector.connect, channel, notify)
        await asyncio.sleep(reconnect_seconds)


async def _listen_on(
    open_connection: Callable[[], Awaitable[Any]], channel: str, notify: Callable[[], object]
) -> None:
    connection = await open_connection()
    ended = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: ended.set())
        await connection.add_listener(channel, lambda *_: notify())
        notify()
        is_standby = False
        while not ended.is_set() and not is_standby:
            try:
                async with asyncio.timeout(PRIMARY_CHECK_SECONDS):
                    await ended.wait()
            except TimeoutError:
                is_standby = await connection.fetchval(IS_STANDBY)
    finally:
        connection.terminate()


__all__ = ["listen"]
