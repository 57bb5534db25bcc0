"""Makes SQLAlchemy engines: a connection pool sized by the settings, or one for migrations."""

from typing import Any, Final, cast

from prometheus_client import Gauge
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from service_platform.database.connector import Connector
from service_platform.database.driver_errors import conceal_values, ends_connection
from service_platform.database.pool import FairQueuePool
from service_platform.errors.database import DatabaseUnavailableError
from service_platform.settings import PlatformSettings
from service_platform.telemetry.database_spans import trace_engine

RECYCLE_SECONDS: Final = 1800
"""A connection is replaced at this age, so that a moved database or a full backend is left."""

pool_in_use = Gauge(
    "database_pool_connections_in_use",
    "Connections that requests hold at this moment.",
    ("pool",),
    multiprocess_mode="livesum",
)
pool_limit = Gauge(
    "database_pool_connections_limit",
    "Most connections the pool may have.",
    ("pool",),
    multiprocess_mode="livesum",
)


def make_engine(
    settings: PlatformSettings, connector: Connector, *, name: str = "database"
) -> AsyncEngine:
    """Make the engine of a service: a bounded pool whose connections are prepared and reused.

    Requests get connections in the order they asked. Idle ones are taken last in, first out, so
    that a burst's extra ones come to rest. No query is spent to see whether one still lives: the
    driver hears of a closed socket at once.

    Args:
        settings: size and times of the pool.
        connector: opens its connections.
        name: label of the pool in the metrics.
    """
    engine = _engine(
        connector,
        poolclass=FairQueuePool,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,
        echo=settings.debug,
    )
    cast("FairQueuePool", engine.pool).label = name
    pool_limit.labels(name).set(settings.database_pool_size + settings.database_max_overflow)
    event.listen(engine.sync_engine, "connect", connector.finished)
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "checkin", _discard_open_transaction)
    event.listen(engine.sync_engine, "handle_error", _handle_error)
    _measure(engine.sync_engine, pool_in_use.labels(name))
    if connector.span_attributes is not None:
        trace_engine(engine.sync_engine, connector.span_attributes)
    return engine


def make_migration_engine(settings: PlatformSettings) -> AsyncEngine:
    """Make an engine for one connection at a time, without a time limit of statements."""
    connector = Connector(settings, statement_timeout_seconds=0)
    return _engine(connector, poolclass=NullPool)


def _engine(connector: Connector, **options: Any) -> AsyncEngine:
    """Make an engine on the connector, behind a pooler without named prepared statements.

    Those belong to a session. An unnamed one is parsed together with its execution.
    """
    adaption: dict[str, Any] = {"async_creator_fn": connector}
    if connector.is_pooled:
        adaption |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}

    def creator() -> Any:
        dialect: Any = engine.dialect
        return dialect.loaded_dbapi.connect(**adaption)

    engine = create_async_engine(
        "postgresql+asyncpg://", creator=creator, hide_parameters=True, **options
    )
    return engine


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _discard_open_transaction(_connection: object, record: ConnectionPoolEntry) -> None:
    """Close a connection at checkin that is still in a transaction.

    Whoever has it next could not begin one, and its locks would stay.
    """
    connection = record.driver_connection
    if connection is not None and connection.is_in_transaction():
        record.invalidate()


def _measure(engine: Engine, gauge: Gauge) -> None:
    """Keep the gauge of connections in use; read from the pool, so that it cannot drift."""

    def in_use() -> int:
        pool: Any = engine.pool
        count: int = pool.checkedout()
        return count

    def taken(_connection: object, _record: object, _proxy: object) -> None:
        gauge.set(in_use())

    def given_back(_connection: object, _record: object) -> None:
        gauge.set(in_use() - 1)  # it is not yet among the idle ones

    event.listen(engine, "checkout", taken)
    event.listen(engine, "checkin", given_back)


def _handle_error(context: ExceptionContext) -> None:
    """Discard a connection that an error leaves unusable; keep row values out of messages."""
    error = context.original_exception
    conceal_values(error.__cause__, error, context.sqlalchemy_exception)
    if ends_connection(error.__cause__) or ends_connection(error):
        context.is_disconnect = True
    elif _transaction_failed(context):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
    if isinstance(error, TimeoutError):
        raise DatabaseUnavailableError("no_answer") from error
    if isinstance(error, OSError):
        raise DatabaseUnavailableError("connection_lost") from error


def _transaction_failed(context: ExceptionContext) -> bool:
    """Say whether a BEGIN, COMMIT or ROLLBACK failed and left the connection in the wrong state.

    After a failed BEGIN the driver believes in a transaction, and makes the next one a savepoint;
    after a failed COMMIT or ROLLBACK the server is still in it. SQLAlchemy executes BEGIN together
    with the first statement, the others without one.
    """
    connection = context.connection
    if connection is None or connection.closed or connection.invalidated:
        return False
    pooled = connection.connection
    driver, adapted = pooled.driver_connection, pooled.dbapi_connection
    if driver is None or adapted is None:
        return False
    if context.statement is None:
        return bool(driver.is_in_transaction())
    autocommit = context.dialect.detect_autocommit_setting(adapted)
    return not autocommit and not driver.is_in_transaction()


__all__ = ["make_engine", "make_migration_engine"]
