"""Revocations reach the stream: at once, after an outage, and again where Redis lost them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import redis
from httpx2 import AsyncClient
from services.auth.tests.conftest import AUTH, Person, eventually
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)
from sqlalchemy import func, select, update

from auth import broadcast as broadcast_module
from auth.broadcast import Broadcast
from auth.models import RevocationRecord, Session
from auth.retention import Retention
from auth.settings import AuthSettings
from service_platform.database import Database
from service_platform.identity.revocation import STREAM
from service_platform.ids import new_id
from service_platform.redis_client import RedisClient
from service_platform.resources import HealthCheckError
from service_testing.valkey import LocalValkey

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]


@pytest.fixture
def settings(service_environment: dict[str, str]) -> AuthSettings:
    return AuthSettings()


@asynccontextmanager
async def broadcasting(settings: AuthSettings, database: Database) -> AsyncIterator[Broadcast]:
    redis_client = RedisClient(settings)
    made = Broadcast(settings, database, redis_client)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await redis_client.stop()


def told(url: str) -> list[str]:
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange(STREAM)
        return [fields[b"id"].decode() for _, fields in entries]


def tells(url: str, *subjects: object) -> Callable[[], Any]:
    async def condition() -> bool:
        try:
            return [str(subject) for subject in subjects] == told(url)
        except redis.ConnectionError:
            return False

    return condition


async def record(broadcast: Broadcast, database: Database, subject: Any) -> None:
    async with database.session() as session:
        await broadcast.record(session, "session", subject)
        await session.commit()


async def test_a_revocation_is_told_at_once(
    settings: AuthSettings, database: Database, redis_url: str
) -> None:
    one, two = new_id(), new_id()
    async with broadcasting(settings, database) as broadcast:
        await record(broadcast, database, one)
        await eventually(tells(redis_url, one), seconds=0.8)
        await record(broadcast, database, two)
        await eventually(tells(redis_url, one, two), seconds=0.8)


async def test_what_is_rolled_back_is_not_told(
    settings: AuthSettings, database: Database, redis_url: str
) -> None:
    one, two = new_id(), new_id()
    async with broadcasting(settings, database) as broadcast:
        async with database.session() as session:
            await broadcast.record(session, "session", one)
            await session.rollback()
        await record(broadcast, database, two)
        await eventually(tells(redis_url, two))


async def test_another_replica_tells_what_one_that_died_could_not(
    settings: AuthSettings, database: Database, redis_url: str
) -> None:
    left_behind = new_id()
    await record(Broadcast(settings, database, RedisClient(settings)), database, left_behind)
    async with broadcasting(settings, database):
        await eventually(tells(redis_url, left_behind))


async def test_two_replicas_tell_each_revocation_once(
    settings: AuthSettings, database: Database, redis_url: str
) -> None:
    subjects = [new_id() for _ in range(300)]
    idle = Broadcast(settings, database, RedisClient(settings))
    async with database.session() as session:
        for subject in subjects:
            await idle.record(session, "session", subject)
        await session.commit()
    async with broadcasting(settings, database), broadcasting(settings, database):

        async def complete() -> bool:
            return len(told(redis_url)) >= len(subjects)

        await eventually(complete)
        assert sorted(told(redis_url)) == sorted(map(str, subjects))


async def test_it_is_told_after_an_outage_and_again_where_redis_lost_it(
    settings: AuthSettings,
    database: Database,
    own_redis: LocalValkey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broadcast_module, "POLL_SECONDS", 0.05)
    away = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_redis.url)})
    one, two = new_id(), new_id()
    async with broadcasting(away, database) as broadcast:
        await record(broadcast, database, one)
        await eventually(tells(own_redis.url, one))
        own_redis.kill()
        await record(broadcast, database, two)
        own_redis.start()
        await eventually(tells(own_redis.url, one, two), seconds=15)


async def test_the_stream_is_trimmed(
    settings: AuthSettings, database: Database, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        for number in range(500):
            client.xadd(STREAM, {"kind": "old"}, id=f"{number + 1}-0")
    async with broadcasting(settings, database) as broadcast:
        subject = new_id()
        await record(broadcast, database, subject)

        async def trimmed() -> bool:
            with redis.Redis.from_url(redis_url) as client:
                length: Any = client.xlen(STREAM)
                return bool(length <= 101)

        await eventually(trimmed)


async def test_what_concerns_no_living_token_is_deleted(
    settings: AuthSettings, database: Database
) -> None:
    async with database.session() as session:
        for until, published in ((1, True), (1, False), (2**40, True)):
            session.add(
                RevocationRecord(
                    kind="session",
                    subject=new_id(),
                    at=0,
                    until=until,
                    published_at=func.now() if published else None,
                )
            )
        await session.commit()
    await database.run(Retention(settings, database).clean_batch)
    async with database.session() as session:
        left = await session.scalar(select(func.count()).select_from(RevocationRecord))
    assert left == 2


async def test_old_sessions_are_deleted(
    person: Person, settings: AuthSettings, database: Database
) -> None:
    await person.log_in()
    async with database.session() as session:
        oldest = select(func.min(Session.created_at)).scalar_subquery()
        await session.execute(
            update(Session)
            .where(Session.created_at == oldest)
            .values(idle_until=func.now() - timedelta(days=31))
        )
        await Retention(settings, database).clean_batch(session)
        assert await session.scalar(select(func.count()).select_from(Session)) == 1
        await session.commit()
    assert (await person.me()).status_code == 200


async def test_one_change_is_one_entry(client: AsyncClient, person: Person, redis_url: str) -> None:
    for _ in range(5):
        await Person(client, person.account).log_in()
    await client.delete(f"{AUTH}/sessions", headers=person.headers)
    await eventually(tells(redis_url, person.id))


async def terminate(url: str, pause: float, seconds: float) -> None:
    """End every other connection to the database again and again."""
    statement = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(seconds):
            while True:
                await connection.execute(statement)
                await asyncio.sleep(pause)
    except TimeoutError:
        pass
    finally:
        await connection.close()


@pytest.mark.parametrize("pause", [0.01, 0.05, 0.4])
async def test_it_goes_on_when_the_server_ends_connections_again_and_again(
    settings: AuthSettings, database: Database, redis_url: str, pause: float
) -> None:
    database_url = settings.database_url.get_secret_value()
    subjects = []
    async with broadcasting(settings, database) as broadcast:
        ending = asyncio.create_task(terminate(database_url, pause, 2.0))
        while not ending.done():
            subject = new_id()
            # Whether a commit whose answer was lost has happened is not known here.
            with contextlib.suppress(Exception):
                await record(broadcast, database, subject)
                subjects.append(subject)
            await asyncio.sleep(0.01)
        await ending
        subjects.append(new_id())
        await record(broadcast, database, subjects[-1])

        async def complete() -> bool:
            return set(map(str, subjects)) <= set(told(redis_url))

        await eventually(complete)
        await eventually(healthy(broadcast))


def healthy(broadcast: Broadcast) -> Callable[[], Any]:
    async def condition() -> bool:
        try:
            await broadcast.check()
        except HealthCheckError:
            return False
        return True

    return condition


async def test_what_cannot_be_published_is_seen_by_health(
    settings: AuthSettings, database: Database, own_redis: LocalValkey
) -> None:
    away = settings.model_copy(update={"redis_url": type(settings.redis_url)(own_redis.url)})
    async with broadcasting(away, database) as broadcast:
        await eventually(healthy(broadcast))
        own_redis.kill()

        async def ill() -> bool:
            return not await healthy(broadcast)()

        await eventually(ill)
        own_redis.start()
        await eventually(healthy(broadcast))
