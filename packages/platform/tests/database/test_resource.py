import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from packages.platform.tests.database.forwarding import Forwarding
from prometheus_client import REGISTRY
from pydantic import SecretStr
from shop.models import Product
from sqlalchemy import func, literal, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service_platform.database import Database, DatabaseUnavailableError
from service_platform.errors.database import database_problem, sqlstate
from service_platform.resources import HealthCheckError, Resource, StartError
from service_platform.settings import PlatformSettings
from service_testing.databases import TestDatabases, migrate
from service_testing.postgres import LocalPostgres

ONE = select(literal(1))
PASSWORD = "secret-password"


Connect = Callable[..., Database]


@pytest.fixture(scope="module")
def migrated_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A server of this module's own, with the shop's database."""
    server = LocalPostgres(tmp_path_factory.mktemp("mortal") / "postgres", durable=False)
    server.start()
    server.create_role("shop", PASSWORD)
    server.create_database("shop", owner="shop")
    migrate("shop", server.url_for("shop", user="shop", password=PASSWORD))
    yield server
    server.remove()


@pytest.fixture
def mortal_server(migrated_server: LocalPostgres) -> Iterator[LocalPostgres]:
    """The same, to be killed, restarted and paused; each test finds it running."""
    migrated_server.start()
    yield migrated_server
    if migrated_server.running:
        migrated_server.resume()


@pytest.fixture
async def connected(mortal_server: LocalPostgres) -> AsyncIterator[Connect]:
    """Databases on that server, with the settings a test likes."""
    url = mortal_server.url_for("shop", user="shop", password=PASSWORD)
    made: list[Database] = []

    def connect(**settings: object) -> Database:
        made.append(Database(make_settings(url, **settings), migrations="shop.migrations"))
        return made[-1]

    yield connect
    for database in made:
        await database.stop()


def make_settings(url: str, **others: object) -> PlatformSettings:
    return PlatformSettings(
        _env_file=None,
        environment="test",
        database_url=url,
        **others,  # type: ignore[arg-type]
    )


async def test_it_is_a_resource(database: Database) -> None:
    assert isinstance(database, Resource)
    assert (database.name, database.critical) == ("database", True)
    await database.check()


async def test_a_database_that_was_never_migrated_is_told_by_the_check(
    databases: TestDatabases,
) -> None:
    url = databases.create_empty("shop")
    database = Database(make_settings(url), migrations="shop.migrations")
    with pytest.raises(HealthCheckError, match="schema_missing"):
        await database.check()
    await database.stop()
    databases.drop(url)


@pytest.mark.parametrize(
    ("revision", "reason"), [("0001", "schema_outdated"), ("9999", None), (None, "schema_missing")]
)
async def test_a_schema_older_than_the_code_is_refused_and_a_newer_one_accepted(
    database: Database, monkeypatch: pytest.MonkeyPatch, revision: str | None, reason: str | None
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("DELETE FROM alembic_version"))
        if revision is not None:
            await connection.execute(
                text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision}
            )
    if reason is None:
        await database.check()
    else:
        with pytest.raises(HealthCheckError, match=reason):
            await database.check()


async def test_a_busy_pool_does_not_make_the_database_look_unavailable(
    connected: Connect,
) -> None:
    database = connected(database_pool_size=2)
    async with database.engine.connect(), database.engine.connect():
        assert database.pool_usage() == (2, 2)
        async with asyncio.timeout(2):
            await database.check()


async def test_a_pool_without_a_free_connection_is_an_error_in_time(
    connected: Connect,
) -> None:
    database = connected(database_pool_size=1, database_pool_timeout_seconds=0.05)
    async with database.engine.connect():
        with pytest.raises(PoolTimeout):
            await database.reader.scalar(ONE)
        with pytest.raises(PoolTimeout):
            await database.run(lambda session: session.execute(ONE))
    assert await database.reader.scalar(ONE) == 1


async def test_reads_and_writes_go_on_after_a_restart_without_a_failure(
    connected: Connect, mortal_server: LocalPostgres
) -> None:
    database = connected(database_pool_size=5)
    sleep = select(func.pg_sleep(0.01))
    await asyncio.gather(*(database.reader.scalar(sleep) for _ in range(5)))
    await asyncio.to_thread(mortal_server.restart)
    assert await asyncio.gather(*(database.reader.scalar(ONE) for _ in range(20))) == [1] * 20
    await asyncio.to_thread(mortal_server.restart)

    async def write(number: int) -> None:
        async def add(session: object) -> None:
            session.add(Product(name=str(number), stock=0, tags=[]))  # type: ignore[attr-defined]

        await database.run(add)

    await asyncio.gather(*(write(number) for number in range(20)))
    assert await database.reader.scalar(select(func.count()).select_from(Product)) == 20
    assert database.pool_usage()[0] == 0


async def test_reads_in_flight_survive_a_restart(
    connected: Connect, mortal_server: LocalPostgres
) -> None:
    database = connected(database_pool_size=5)
    reads = [asyncio.Semaphore(0) for _ in range(8)]

    def crash() -> None:
        mortal_server.kill()
        mortal_server.start()

    async def keep_reading(done: asyncio.Semaphore) -> None:
        while await database.reader.scalar(ONE) == 1:
            done.release()

    async def some_reads() -> None:
        """Waits until each reader has read anew: one read need not survive two restarts."""
        for done in reads:
            while not done.locked():
                await done.acquire()
        for done in reads:
            for _ in range(5):
                await done.acquire()

    readers = [asyncio.create_task(keep_reading(done)) for done in reads]
    for way in (mortal_server.restart, crash, lambda: None):
        progress = asyncio.create_task(some_reads())
        await asyncio.wait([progress, *readers], return_when=asyncio.FIRST_COMPLETED)
        assert progress.done(), [reader for reader in readers if reader.done()]
        await asyncio.to_thread(way)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)


class LastWords(Forwarding):
    """Passes everything on to a server; says to clients what a server says before it goes.

    The real one then closes the sockets, one after the other, in microseconds. Here the oldest
    connection stays open.
    """

    FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"

    def say(self) -> None:
        clients, self._clients = self._clients, []
        for each in clients:
            each.write(b"E" + (len(self.FIELDS) + 4).to_bytes(4, "big") + self.FIELDS)
        for each in clients[1:]:
            each.close()


async def test_connections_that_are_about_to_be_closed_are_replaced(
    mortal_server: LocalPostgres,
) -> None:
    url = mortal_server.url_for("shop", user="shop", password=PASSWORD)
    async with LastWords(mortal_server) as proxy:
        settings = make_settings(
            url.replace(str(mortal_server.port), str(proxy.port)),
            database_pool_size=1,
            database_max_overflow=1,
        )
        database = Database(settings, migrations="shop.migrations")
        slow = select(literal(1)).where(func.pg_sleep(0.2).is_not(None))
        async with database.engine.connect() as idle:
            await idle.execute(ONE)
            reading = asyncio.create_task(database.reader.scalar(slow))
            await asyncio.sleep(0.1)
        proxy.say()
        assert await reading == 1, "a read is tried once more, and not on the idle connection"

        proxy.say()
        await asyncio.sleep(0.05)
        async with database.session() as session:
            with pytest.raises(SQLAlchemyError) as caught:
                await session.execute(ONE)
        problem = database_problem(caught.value)
        assert problem is not None
        assert problem.status == 503

        proxy.say()
        await asyncio.sleep(0.05)
        await database.run(lambda session: session.execute(ONE))
        await database.stop()


async def test_a_server_that_is_away_is_told_at_once_and_used_again(
    connected: Connect, mortal_server: LocalPostgres
) -> None:
    database = connected()
    await database.check()
    await asyncio.to_thread(mortal_server.kill)
    with pytest.raises(DatabaseUnavailableError):
        await database.reader.scalar(ONE)
    with pytest.raises(HealthCheckError, match="database_unavailable"):
        await database.check()
    with pytest.raises(SQLAlchemyError):
        await database.run(lambda session: session.execute(ONE))
    await database.stop()
    await database.start()
    await asyncio.to_thread(mortal_server.start)
    assert await database.reader.scalar(ONE) == 1
    await database.check()


async def test_a_server_that_does_not_answer_is_given_up(
    connected: Connect,
    mortal_server: LocalPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service_platform.database.connector.ANSWER_MARGIN_SECONDS", 0.1)
    database = connected(
        database_statement_timeout_seconds=0.2, database_connect_timeout_seconds=0.3
    )
    await database.reader.scalar(ONE)
    await asyncio.to_thread(mortal_server.pause)
    with pytest.raises(DatabaseUnavailableError, match="no_answer"):
        await database.reader.scalar(ONE)
    with pytest.raises(DatabaseUnavailableError, match="connect_timeout"):
        await database.run(lambda session: session.execute(ONE))
    await asyncio.to_thread(mortal_server.resume)
    assert await database.reader.scalar(ONE) == 1


async def test_a_session_whose_server_stops_answering_fails_in_time(
    connected: Connect,
    mortal_server: LocalPostgres,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service_platform.database.connector.ANSWER_MARGIN_SECONDS", 0.1)
    database = connected(database_statement_timeout_seconds=0.2)
    async with database.session() as session:
        await session.execute(ONE)
        await asyncio.to_thread(mortal_server.pause)
        with pytest.raises(DatabaseUnavailableError, match="no_answer"):
            await session.execute(ONE)
        await asyncio.to_thread(mortal_server.resume)
    assert await database.reader.scalar(ONE) == 1


async def test_a_long_statement_is_cancelled_by_the_server(
    connected: Connect,
) -> None:
    database = connected(database_statement_timeout_seconds=0.1)
    for _ in range(3):
        with pytest.raises(DBAPIError) as caught:
            await database.reader.scalar(select(func.pg_sleep(20)))
        assert sqlstate(caught.value) == "57014"
    assert await database.reader.scalar(ONE) == 1


async def test_migrations_that_form_no_line_end_the_start(
    service_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "forked" / "migrations" / "versions"
    versions.mkdir(parents=True)
    for name in ("a", "b"):
        (versions / f"{name}.py").write_text(f"revision = {name!r}\ndown_revision = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    database = Database(PlatformSettings(), migrations="forked.migrations")
    with pytest.raises(StartError, match=r"a\.py and b\.py .* both follow the empty database"):
        await database.start()
    await database.stop()


@pytest.fixture
async def other_database(database_url: str) -> AsyncIterator[Database]:
    settings = PlatformSettings(_env_file=None, environment="test", database_pool_size=2)
    made = Database(
        settings, migrations=None, name="reports", critical=False, url=SecretStr(database_url)
    )
    yield made
    await made.stop()


async def test_a_second_database_has_a_name_an_address_and_no_migrations(
    other_database: Database,
) -> None:
    assert (other_database.name, other_database.critical) == ("reports", False)
    await other_database.start()
    await other_database.check()
    async with other_database.engine.connect():
        await other_database.check()
        value = REGISTRY.get_sample_value("database_pool_connections_in_use", {"pool": "reports"})
        assert value == 1
