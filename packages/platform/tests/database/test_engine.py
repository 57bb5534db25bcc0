"""Faults of a real server: cancelled transactions, ended connections, no connection left."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from packages.platform.tests.database.forwarding import Forwarding
from prometheus_client import REGISTRY
from shop.models import Product
from sqlalchemy import bindparam, func, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database, DatabaseUnavailableError
from service_platform.errors import GatewayTimeout, Problem, ServiceUnavailable
from service_platform.errors.database import database_problem
from service_platform.settings import PlatformSettings
from service_testing.postgres import LocalPostgres

ONE = select(literal(1))
STOCK = select(Product.stock).where(Product.name == bindparam("name"))

DIVISION_BY_ZERO = b"Q\0\0\0\x10SELECT 1/0;\0"
"""A message of the protocol: simple query."""

Connect = Callable[..., Database]


@pytest.fixture
async def connect(database_url: str, acceleration: bool) -> AsyncIterator[Connect]:
    """Makes databases with the settings a test likes."""
    made: list[Database] = []

    def connect(url: str = database_url, **settings: object) -> Database:
        chosen = PlatformSettings(
            _env_file=None,
            environment="test",
            database_url=url,
            acceleration=acceleration,
            **settings,  # type: ignore[arg-type]
        )
        made.append(Database(chosen, migrations="shop.migrations"))
        return made[-1]

    yield connect
    for database in made:
        await database.stop()


@pytest.fixture
async def administrator(postgres_server: LocalPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the superuser, to another database."""
    connection = await asyncpg.connect(postgres_server.url_for("postgres"))
    yield connection
    await connection.close()


async def count_up(session: AsyncSession) -> None:
    """One write."""
    await session.execute(update(Product).values(stock=Product.stock + 1))


async def write(database: Database, *, keep: bool) -> None:
    """One write in a session of its own, committed or rolled back."""
    async with database.session() as session:
        await count_up(session)
        await (session.commit() if keep else session.rollback())


class FailingStatements(Forwarding):
    """Passes everything on to a server, but for statements that fail there in their stead."""

    def __init__(self, server: LocalPostgres) -> None:
        super().__init__(server)
        self._failing: re.Pattern[bytes] | None = None

    def fail_next(self, statement: str) -> None:
        """The next time, the server gets a statement that fails."""
        self._failing = re.compile(rb"Q....%b[^\0]*\0" % statement.encode(), re.DOTALL)

    def passed_on(self, data: bytes) -> bytes:
        if self._failing is not None and self._failing.match(data):
            data = self._failing.sub(DIVISION_BY_ZERO, data)
            self._failing = None
        return data


@pytest.mark.parametrize("statement", ["BEGIN", "COMMIT", "ROLLBACK"])
async def test_a_connection_whose_transaction_failed_is_not_used_again(
    connect: Connect, postgres_server: LocalPostgres, database_url: str, statement: str
) -> None:
    async with FailingStatements(postgres_server) as proxy:
        url = database_url.replace(str(postgres_server.port), str(proxy.port))
        database = connect(url, database_pool_size=1, database_pool_timeout_seconds=1.0)
        await database.run(count_up)
        before = await database.reader.scalar(select(func.pg_backend_pid()))
        proxy.fail_next(statement)
        with pytest.raises(SQLAlchemyError):
            await write(database, keep=statement != "ROLLBACK")
        assert database.pool_usage() == (0, 1)
        await database.run(count_up)
        for _ in range(4):
            assert await database.reader.scalar(ONE) == 1
        assert await database.reader.scalar(select(func.pg_backend_pid())) != before
        await database.stop()


async def test_a_connection_left_in_a_transaction_does_not_enter_the_pool(
    connect: Connect,
) -> None:
    database = connect(database_pool_size=1)
    async with database.engine.connect() as connection:
        pooled = await connection.get_raw_connection()
        assert pooled.driver_connection is not None
        await pooled.driver_connection.execute("BEGIN")
    await database.run(count_up)
    assert await database.reader.scalar(ONE) == 1


async def test_a_constraint_checked_at_commit_costs_no_connection(connect: Connect) -> None:
    database = connect(database_pool_size=1)
    pid = select(func.pg_backend_pid())
    before = await database.reader.scalar(pid)
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(
            "ALTER TABLE products ADD CONSTRAINT stocks UNIQUE (stock) INITIALLY DEFERRED"
        )

    async def add_twins(session: AsyncSession) -> None:
        session.add_all([Product(name=name, stock=1, tags=[]) for name in "ab"])

    with pytest.raises(SQLAlchemyError):
        await database.run(add_twins)
    assert await database.reader.scalar(pid) == before


END_CONNECTION = select(func.pg_terminate_backend(func.pg_backend_pid()))


async def test_a_unit_of_work_whose_connection_is_lost_is_run_again(connect: Connect) -> None:
    database = connect()
    runs = 0

    async def add(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        session.add(Product(name="a", stock=runs, tags=[]))
        await session.flush()
        if runs == 1:
            await session.execute(END_CONNECTION)

    await database.run(add)
    assert await database.reader.scalars(select(Product.stock)) == [2]


END_CONNECTION_AT_COMMIT = """
CREATE FUNCTION end_connection() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON products
    INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_connection();
"""


async def test_a_unit_of_work_whose_connection_is_lost_at_the_commit_is_not_run_again(
    connect: Connect,
) -> None:
    database = connect()
    async with database.engine.connect() as connection:
        pooled = await connection.get_raw_connection()
        assert pooled.driver_connection is not None
        await pooled.driver_connection.execute(END_CONNECTION_AT_COMMIT)
    runs = 0

    async def add(session: AsyncSession) -> None:
        nonlocal runs
        runs += 1
        session.add(Product(name="a", stock=1, tags=[]))

    with pytest.raises(SQLAlchemyError) as caught:
        await database.run(add)
    assert isinstance(database_problem(caught.value), ServiceUnavailable)
    assert runs == 1


async def use(database: Database, seconds: float, size: int = 4) -> list[SQLAlchemyError]:
    """Read and write all the time; returns the errors. Others than SQLAlchemy's are raised."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    errors: list[SQLAlchemyError] = []

    async def repeat(action: Callable[[], Awaitable[object]]) -> None:
        while loop.time() < end:
            try:
                await action()
            except SQLAlchemyError as error:
                errors.append(error)

    await asyncio.gather(
        *(repeat(lambda: database.reader.one_or_none(STOCK, {"name": "a"})) for _ in range(size)),
        *(repeat(lambda: database.run(count_up)) for _ in range(size)),
    )
    return errors


def problems(errors: list[SQLAlchemyError]) -> set[type[Problem] | type[None]]:
    return {type(database_problem(error)) for error in errors}


@pytest.fixture
async def busy_database(connect: Connect) -> Database:
    database = connect(database_pool_size=6)
    async with database.engine.begin() as connection:
        await connection.execute(insert(Product).values(name="a", stock=1, tags=[]))
    return database


CANCEL_ALL_THE_TIME = """
DO $$ DECLARE finish timestamptz := clock_timestamp() + interval '1 second'; BEGIN
    WHILE clock_timestamp() < finish LOOP
        PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = '{database}';
        PERFORM pg_stat_clear_snapshot(), pg_sleep(0.0002);
    END LOOP;
END $$
"""


async def test_statements_cancelled_at_any_moment_leave_a_usable_pool(
    busy_database: Database, administrator: asyncpg.Connection, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    cancelling = asyncio.create_task(
        administrator.execute(CANCEL_ALL_THE_TIME.format(database=name))
    )
    errors = await use(busy_database, 1.0)
    await cancelling
    assert problems(errors) <= {GatewayTimeout, ServiceUnavailable}, errors
    assert await use(busy_database, 0.5) == []
    assert busy_database.pool_usage() == (0, 6)


@pytest.mark.parametrize("pause", [0.05, 0.3])
async def test_connections_ended_again_and_again_are_worth_another_try(
    busy_database: Database, administrator: asyncpg.Connection, database_url: str, pause: float
) -> None:
    stopped = asyncio.Event()

    async def keep_ending() -> None:
        while not stopped.is_set():
            await administrator.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE datname = $1",
                database_url.rpartition("/")[2],
            )
            await asyncio.sleep(pause)

    ending = asyncio.create_task(keep_ending())
    errors = await use(busy_database, 1.0)
    stopped.set()
    await ending
    assert problems(errors) <= {ServiceUnavailable}, errors
    for error in errors:
        problem = database_problem(error)
        assert problem is not None
        assert (problem.headers or {})["retry-after"]
    for _ in range(10):  # the last connections to be ended are noticed when they are next used
        if not await use(busy_database, 0.5):
            break
    assert await use(busy_database, 0.5) == []
    assert busy_database.pool_usage() == (0, 6)


@pytest.fixture
async def limit_connections(
    administrator: asyncpg.Connection, database_url: str
) -> AsyncIterator[Callable[[int], Awaitable[object]]]:
    """Sets the most connections the server gives to this test's database."""
    name = database_url.rpartition("/")[2]

    async def limit(count: int) -> object:
        return await administrator.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT {count}')

    yield limit
    await limit(-1)


async def test_without_connections_left_on_the_server_requests_wait_for_those_of_the_pool(
    busy_database: Database, limit_connections: Callable[[int], Awaitable[object]]
) -> None:
    await busy_database.reader.scalar(ONE)
    await limit_connections(2)
    assert await use(busy_database, 1.5) == []
    pids = select(func.pg_backend_pid(), func.pg_sleep(0.02))
    rows = await asyncio.gather(*(busy_database.reader.all(pids) for _ in range(12)))
    assert len({row.pg_backend_pid for (row,) in rows}) <= 2
    await limit_connections(-1)
    await asyncio.sleep(1.1)
    rows = await asyncio.gather(*(busy_database.reader.all(pids) for _ in range(12)))
    assert len({row.pg_backend_pid for (row,) in rows}) > 2
    assert busy_database.pool_usage() == (0, 6)


async def test_the_wait_for_the_pools_own_connections_ends_in_time(
    connect: Connect, limit_connections: Callable[[int], Awaitable[object]]
) -> None:
    database = connect(database_pool_size=3, database_pool_timeout_seconds=0.1)
    async with database.engine.connect():
        await limit_connections(1)
        with pytest.raises(PoolTimeout):
            await database.reader.scalar(ONE)
    assert await database.reader.scalar(ONE) == 1
    assert database.pool_usage() == (0, 3)


async def test_a_pool_without_connections_is_told_at_once_that_the_server_has_none(
    connect: Connect, limit_connections: Callable[[int], Awaitable[object]]
) -> None:
    database = connect(database_pool_timeout_seconds=30.0)
    await limit_connections(0)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *(database.reader.scalar(ONE) for _ in range(20)), return_exceptions=True
        )
    assert {type(answer).__mro__[1] for answer in answers} == {DatabaseUnavailableError}
    await limit_connections(-1)
    assert await database.reader.scalar(ONE) == 1


async def test_overflow_connections_are_closed_after_use(
    connect: Connect,
) -> None:
    database = connect(database_pool_size=1, database_max_overflow=3)
    slow = select(func.pg_backend_pid(), func.pg_sleep(0.05))
    rows = await asyncio.gather(*(database.reader.one_or_none(slow) for _ in range(8)))
    assert len({row[0] for row in rows if row is not None}) > 1
    assert database.pool_usage() == (0, 4)
    open_connections = select(func.count()).select_from(
        text("pg_stat_activity WHERE datname = current_database()")
    )
    assert await database.reader.scalar(open_connections) == 1


async def test_the_pools_use_is_measured(connect: Connect) -> None:
    def in_use() -> float | None:
        return REGISTRY.get_sample_value("database_pool_connections_in_use", {"pool": "database"})

    database = connect(database_pool_size=3, database_max_overflow=1)
    async with database.engine.connect(), database.engine.connect():
        assert in_use() == 2
        await database.reader.scalar(ONE)
        assert in_use() == 2
    assert in_use() == 0
    end = select(func.pg_terminate_backend(func.pg_backend_pid()))
    for _ in range(5):
        with pytest.raises(DBAPIError):
            await database.reader.scalar(end)
    assert in_use() == 0
    assert REGISTRY.get_sample_value("database_pool_connections_limit", {"pool": "database"}) == 4
