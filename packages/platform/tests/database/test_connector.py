"""How connections are opened: what the server is told, what is waited for, what is left behind."""

import asyncio
import socket
import time
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, literal, select

from service_platform.database import Database, DatabaseUnavailableError
from service_platform.database.connector import RECONNECT_SECONDS, Connector
from service_platform.database.engine import make_engine
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port
from service_testing.postgres import LocalPostgres

ONE = select(literal(1))


def make_settings(url: str, **others: object) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=url,
        **others,  # type: ignore[arg-type]
    )


async def test_the_server_knows_whose_connection_it_is(database: Database) -> None:
    settings = ("application_name", "jit", "TimeZone", "idle_in_transaction_session_timeout")
    row = await database.reader.one_or_none(
        select(*(func.current_setting(name) for name in settings))
    )
    assert row == ("shop", "off", "UTC", "30s")


async def test_parameters_of_the_address_reach_the_server(database_url: str) -> None:
    url = database_url.replace("postgresql://", "postgresql+asyncpg://")
    settings = make_settings(f"{url}?sslmode=disable&options=-c%20work_mem%3D1234kB")
    database = Database(settings, migrations="shop.migrations")
    assert await database.reader.scalar(select(func.current_setting("work_mem"))) == "1234kB"
    await database.stop()


async def test_libpqs_parameters_are_honoured_by_a_connection(database_url: str) -> None:
    query = (
        "connect_timeout=10&channel_binding=prefer&gssencmode=disable&application_name=by%20hand"
        "&keepalives=1&keepalives_idle=77&tcp_user_timeout=5000&target_session_attrs=read-write"
        "&options=-c%20work_mem%3D1234kB&client_encoding=utf8"
    )
    settings = PlatformSettings(
        _env_file=None, database_url=SecretStr(f"{database_url}?{query}"), environment="test"
    )
    connector = Connector(settings)
    engine = make_engine(settings, connector)
    async with engine.connect() as connection:
        found = await connection.execute(
            select(
                func.current_setting("application_name"),
                func.current_setting("work_mem"),
                func.current_setting("timezone"),
            )
        )
        assert tuple(found.one()) == ("by hand", "1234kB", "UTC")
        driver: Any = (await connection.get_raw_connection()).driver_connection
        opened = driver._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
    await engine.dispose()


async def test_an_address_that_demands_tls_never_connects_without(database_url: str) -> None:
    settings = make_settings(f"{database_url}?sslmode=require")
    database = Database(settings, migrations="shop.migrations")
    with pytest.raises(DatabaseUnavailableError):
        await database.reader.scalar(ONE)
    await database.stop()


async def test_no_failure_shows_the_password(postgres_server: LocalPostgres) -> None:
    url = postgres_server.url_for("postgres", password="wrong-secret")
    database = Database(make_settings(url), migrations="shop.migrations")
    with pytest.raises(DatabaseUnavailableError) as caught:
        await database.reader.scalar(ONE)
    shown = f"{caught.value!r} {caught.value.__cause__!r} {database.engine!r}"
    assert "wrong-secret" not in shown
    await database.stop()


async def test_a_server_that_refuses_connections_is_waited_for_once(database_url: str) -> None:
    url = f"postgresql://shop@127.0.0.1:{free_port()}/shop"
    connector = Connector(make_settings(url))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="connection_refused"):
        await connector.connect()
    first = time.monotonic() - began
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailableError, match="connection_refused"):
        await connector.connect()
    assert first >= RECONNECT_SECONDS
    assert time.monotonic() - began < RECONNECT_SECONDS / 2


async def test_a_server_that_comes_back_in_time_is_connected_to(
    own_postgres: LocalPostgres,
) -> None:
    connector = Connector(make_settings(own_postgres.url_for("postgres")))
    own_postgres.stop()
    starting = asyncio.create_task(asyncio.to_thread(own_postgres.start))
    async with asyncio.timeout(20):
        while True:
            try:
                connection = await connector.connect()
                break
            except DatabaseUnavailableError:
                continue
    await starting
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@pytest.mark.parametrize("moment", [0, 0.001, 0.005, 0.02])
async def test_a_cancelled_connect_leaves_no_connection_behind(
    database_url: str, postgres_server: LocalPostgres, moment: float
) -> None:
    connector = Connector(make_settings(database_url, project_name="left-behind"))
    for _ in range(5):
        connecting = asyncio.create_task(connector.connect_for_pool())
        await asyncio.sleep(moment)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
    await connector.stop()
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'left-behind'"
    left = ""
    for _ in range(100):  # the server takes a moment to notice a closed socket
        left = postgres_server.execute(sql)
        if left == "0":
            break
        await asyncio.sleep(0.02)
    assert left == "0"
