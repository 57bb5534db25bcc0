import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event, func, literal, select
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service_platform.database import Database, DatabaseUnavailableError
from service_platform.settings import PlatformSettings
from service_testing.ports import free_port

ONE = select(literal(1))
BRIEF = select(func.pg_sleep(0.005))

Connect = Callable[..., Database]


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    """Makes databases whose pool has room for one connection and no hurry."""
    made: list[Database] = []

    def connect(url: str = database_url, name: str = "database", **settings: object) -> Database:
        chosen = PlatformSettings(
            _env_file=None,
            environment="test",
            database_url=url,
            **{"database_pool_size": 1, "database_pool_timeout_seconds": 60, **settings},  # type: ignore[arg-type]
        )
        made.append(Database(chosen, migrations="shop.migrations", name=name))
        return made[-1]

    yield connect
    for database in made:
        await database.stop()


@pytest.mark.parametrize("size", [1, 3])
async def test_connections_go_round_in_the_order_they_were_asked_for(
    connect: Connect, size: int
) -> None:
    database = connect(database_pool_size=size)
    turns: list[str] = []

    async def keep_reading(name: str) -> None:
        for _ in range(20):
            await database.reader.scalar(BRIEF)
            turns.append(name)

    await asyncio.gather(*(keep_reading(name) for name in "abcdefg"))
    counts = [turns[: len(turns) // 2].count(name) for name in "abcdefg"]
    assert max(counts) - min(counts) <= size, turns


async def test_sessions_stand_in_the_same_line_as_reads(connect: Connect) -> None:
    database = connect()
    turns: list[str] = []

    async def keep_reading() -> None:
        for _ in range(10):
            await database.reader.scalar(BRIEF)
            turns.append("read")

    async def keep_writing() -> None:
        for _ in range(10):
            await database.run(lambda session: session.execute(BRIEF))
            turns.append("write")

    await asyncio.gather(keep_reading(), keep_writing())
    assert abs(turns[:10].count("read") - 5) <= 1, turns


async def test_who_leaves_the_line_keeps_nobody_waiting(connect: Connect) -> None:
    database = connect()
    async with database.engine.connect():
        first = asyncio.create_task(database.reader.scalar(ONE))
        second = asyncio.create_task(database.reader.scalar(ONE))
        await asyncio.sleep(0.02)
        first.cancel()
    async with asyncio.timeout(5):
        assert await second == 1
    assert first.cancelled()


async def test_a_connection_handed_to_a_request_that_ends_in_that_moment_goes_on(
    connect: Connect,
) -> None:
    database = connect()
    async with database.engine.connect():
        first = asyncio.create_task(database.reader.scalar(ONE))
        second = asyncio.create_task(database.reader.scalar(ONE))
        await asyncio.sleep(0.02)
        loop = asyncio.get_running_loop()
        # Comes after the connection is handed over and before the task goes on with it.
        event.listen(
            database.engine.sync_engine,
            "checkin",
            lambda *_: loop.call_soon(first.cancel),
            once=True,
        )
    async with asyncio.timeout(5):
        assert await second == 1
    assert first.cancelled()
    assert database.pool_usage() == (0, 1)
    assert await database.reader.scalar(ONE) == 1


async def test_nobody_waits_for_a_connection_that_could_not_be_made(connect: Connect) -> None:
    database = connect(f"postgresql+asyncpg://shop@127.0.0.1:{free_port()}/shop")
    async with asyncio.timeout(10):
        answers = await asyncio.gather(
            *(database.reader.scalar(ONE) for _ in range(5)), return_exceptions=True
        )
    assert [type(answer) for answer in answers] == [DatabaseUnavailableError] * 5
    assert database.pool_usage() == (0, 1)


async def test_patience_ends(connect: Connect) -> None:
    database = connect(database_pool_timeout_seconds=0.05)
    async with database.engine.connect():
        with pytest.raises(PoolTimeout):
            await database.reader.scalar(ONE)
    assert await database.reader.scalar(ONE) == 1
    assert database.pool_usage() == (0, 1)


def waits_of(pool: str) -> tuple[float, float]:
    """Returns how many requests waited for a connection, and for how long in all."""
    found = (
        REGISTRY.get_sample_value(f"database_pool_wait_seconds_{suffix}", {"pool": pool})
        for suffix in ("count", "sum")
    )
    count, total = (value or 0.0 for value in found)
    return count, total


async def test_the_time_in_the_line_is_measured_whatever_ends_it(connect: Connect) -> None:
    database = connect(name="waits", database_pool_timeout_seconds=30)
    async with database.engine.connect():
        served = asyncio.create_task(database.reader.scalar(ONE))
        cancelled = asyncio.create_task(database.reader.scalar(ONE))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert waits_of("waits")[0] == 1
        await asyncio.sleep(0.05)
        waited = time.monotonic() - began
    assert await served == 1
    count, total = waits_of("waits")
    assert count == 2
    assert total >= waited


async def test_who_gives_up_has_waited(connect: Connect) -> None:
    database = connect(name="gives_up", database_pool_timeout_seconds=0.05)
    async with database.engine.connect():
        with pytest.raises(PoolTimeout):
            await database.reader.scalar(ONE)
    count, total = waits_of("gives_up")
    assert count == 1
    assert total >= 0.04


async def test_a_free_connection_and_room_for_one_are_no_wait(connect: Connect) -> None:
    database = connect(name="free", database_pool_size=2)
    async with database.engine.connect(), database.engine.connect():
        pass
    await database.reader.scalar(ONE)
    await database.run(lambda session: session.execute(ONE))
    assert waits_of("free") == (0, 0)


async def test_a_pool_keeps_its_label_when_its_connections_are_disposed_of(
    connect: Connect,
) -> None:
    database = connect(name="disposed")
    await database.engine.dispose()
    async with database.engine.connect():
        waiting = asyncio.create_task(database.reader.scalar(ONE))
        await asyncio.sleep(0.02)
    assert await waiting == 1
    assert waits_of("disposed")[0] == 1
