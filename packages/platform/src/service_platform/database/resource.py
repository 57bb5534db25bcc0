"""Holds the database of a service: engine, sessions, reads, and its health check."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg
import structlog
from pydantic import SecretStr
from sqlalchemy import Select, Text, cast, column, func, null, select, table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from service_platform.connection_urls import PostgresUrl
from service_platform.database.connector import Connector
from service_platform.database.engine import make_engine
from service_platform.database.pool import FairQueuePool
from service_platform.database.reader import Reader
from service_platform.errors.database import (
    DatabaseUnavailableError,
    can_run_again,
    is_retryable,
    sqlstate,
)
from service_platform.resources import HealthCheckError, StartError
from service_platform.revisions import VERSION_TABLE, MigrationsError, revisions_of
from service_platform.settings import PlatformSettings

T = TypeVar("T")

UNDEFINED_TABLE: Final = "42P01"
CURRENT_REVISION: Final[Select[str]] = select(column("version_num", Text)).select_from(
    table(VERSION_TABLE)
)
SERVER_STATE: Final = CURRENT_REVISION.add_columns(func.pg_is_in_recovery())
STATE_WITHOUT_REVISION: Final = select(cast(null(), Text), func.pg_is_in_recovery())

log = structlog.stdlib.get_logger("database")


class Database:
    """PostgreSQL, one pool a process.

    Args:
        settings: address, pool size, time limits.
        migrations: package of the service's migrations, such as `users.migrations`; its newest
            revision is the one the service needs. `None` for a database that others migrate.
        name: of the resource, in `/health`, `app.state` and the metrics; a second database of a
            service needs its own.
        critical: whether the service is unready until this database has been reached.
        url: address instead of `DATABASE_URL`.

    Attributes:
        engine: SQLAlchemy's.
        session: makes an `AsyncSession`: `async with database.session() as session`.
        reader: runs single reads without a transaction.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        *,
        migrations: str | None,
        name: str = "database",
        critical: bool = True,
        url: SecretStr | None = None,
    ) -> None:
        self.name = name
        self.critical = critical
        if url is not None:
            settings = settings.model_copy(update={"database_url": url})
        address = PostgresUrl.parse(settings.database_url.get_secret_value())
        self._wants_primary = address.wants_primary
        self._connector = Connector(settings)
        self._migrations = migrations
        self._state = STATE_WITHOUT_REVISION if migrations is None else SERVER_STATE
        self.engine = make_engine(settings, self._connector, name=name)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)
        self.reader = _make_reader(self.engine, settings)

    async def start(self) -> None:
        """Open the first connection; a database that is away for the moment is only logged.

        Raises:
            StartError: the service's migrations do not form one line.
        """
        try:
            if self._migrations is not None:
                revisions_of(self._migrations)
        except MigrationsError as error:
            raise StartError(str(error)) from None
        try:
            async with self.engine.connect():
                pass
        except (SQLAlchemyError, OSError) as error:
            reason = getattr(error, "reason", type(error).__name__)
            log.warning("database_not_reached_at_start", reason=reason)

    async def stop(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self._connector.stop()

    async def check(self) -> None:
        """Ask the database for its schema revision and whether it accepts writes.

        Connections to a server that became a standby are replaced; reads alone would never leave
        it. A pool that is busy to the last connection does not make the database unavailable:
        the question is then asked on a connection of its own.

        Raises:
            HealthCheckError: `database_unavailable`, `database_read_only`, `schema_missing` or
                `schema_outdated`.
        """
        try:
            current, is_standby = await self._server_state()
        except SQLAlchemyError as error:
            raise HealthCheckError(_reason(error)) from error
        if is_standby and self._wants_primary:
            self._pool.replace_all()
            raise HealthCheckError("database_read_only")
        if self._migrations is None:
            return
        wanted = revisions_of(self._migrations)
        if current is None and wanted.head is not None:
            raise HealthCheckError("schema_missing")
        if current is not None and wanted.is_outdated(current):
            raise HealthCheckError("schema_outdated")

    async def run(
        self,
        work: Callable[[AsyncSession], Awaitable[T]],
        *,
        attempts: int = 3,
        isolation_level: str | None = None,
    ) -> T:
        """Run a unit of work in a transaction of its own and commit it.

        When PostgreSQL gives it up for a deadlock or a serialization failure, or when its
        connection is lost before the commit, it is run again from the start. So it must have no
        effect beyond its session.

        Args:
            work: gets a session and returns the result.
            attempts: how often it is run at most.
            isolation_level: such as `SERIALIZABLE`; the server's default where omitted.

        Raises:
            SQLAlchemyError: the last attempt's, which `errors.database` turns into a problem.
        """
        options: dict[str, Any] = {}
        if isolation_level is not None:
            options = {"isolation_level": isolation_level}
        attempt = 1
        while True:
            committing = False
            try:
                async with self.session() as session:
                    if options:
                        await session.connection(execution_options=options)
                    result = await work(session)
                    committing = True
                    await session.commit()
                    return result
            except SQLAlchemyError as error:
                again = is_retryable(error) or (not committing and can_run_again(error))
                if attempt >= attempts or not again:
                    raise
            await asyncio.sleep(random.uniform(0.005, 0.02) * attempt)  # noqa: S311 - not a secret
            attempt += 1

    def pool_usage(self) -> tuple[int, int]:
        """Return how many connections are in use, and the most there may be."""
        pool = self._pool
        return pool.checkedout(), pool.size() + max(pool._max_overflow, 0)  # noqa: SLF001

    @property
    def _pool(self) -> FairQueuePool:
        pool = self.engine.pool
        if not isinstance(pool, FairQueuePool):
            raise TypeError("The engine's pool is not bounded.")
        return pool

    async def _server_state(self) -> tuple[str | None, bool]:
        """Ask for the schema's revision, and whether the server is a standby."""
        used, limit = self.pool_usage()
        if used < limit:
            row = await self.reader.one_or_none(self._state)
            return (None, False) if row is None else (row[0], row[1])
        connection = await self._connector.connect()
        try:
            record = await connection.fetchrow(str(self._state))
        except asyncpg.PostgresError as error:
            # Told apart by SQLSTATE like the reader's errors.
            raise DBAPIError("", None, error) from error
        except OSError as error:
            raise DatabaseUnavailableError("connection_lost") from error
        finally:
            connection.terminate()
        return (None, False) if record is None else (record[0], record[1])


def _reason(error: SQLAlchemyError) -> str:
    if isinstance(error, DatabaseUnavailableError) and error.reason == "read_only":
        return "database_read_only"
    return "schema_missing" if sqlstate(error) == UNDEFINED_TABLE else "database_unavailable"


def _make_reader(engine: AsyncEngine, settings: PlatformSettings) -> Reader:
    if not settings.acceleration:
        return Reader(engine)
    from service_platform.acceleration.reader import AcceleratedReader  # noqa: PLC0415

    return AcceleratedReader(engine)


__all__ = ["Database"]
