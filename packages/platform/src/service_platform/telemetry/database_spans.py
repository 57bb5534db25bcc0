"""Makes spans of what PostgreSQL is told, inside of a span that is recorded.

SQLAlchemy calls `_execute` and its like in place of the driver. What the driver does by itself
(`BEGIN`, `COMMIT`) or is told past SQLAlchemy (`acceleration.reader`) goes through a class of
connections.

Source: OpenTelemetry semantic conventions, "Database client spans" and "PostgreSQL".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import asyncpg
from opentelemetry import trace
from sqlalchemy import Engine, event

from service_platform.connection_urls import PostgresUrl
from service_platform.telemetry.statement_text import describe
from service_platform.telemetry.tracing import Attributes, client_span, is_recording

DEFAULT_PORT: Final = 5432


def server_attributes(url: PostgresUrl) -> dict[str, str | int]:
    """Return what is known of the server from its address; of several hosts, the first."""
    host, port = url.hosts[0] if url.hosts else ("localhost", None)
    return {
        "server.address": host or "localhost",
        "server.port": port or DEFAULT_PORT,
        "db.namespace": url.database,
    }


def trace_engine(engine: Engine, server: Attributes) -> None:
    """Make a span of each statement of an engine.

    Args:
        engine: SQLAlchemy's.
        server: `server.address`, `server.port` and `db.namespace`, as far as they are known.
    """
    event.listen(engine, "do_execute", partial(_execute, server))
    event.listen(engine, "do_executemany", partial(_execute_many, server))
    event.listen(engine, "do_execute_no_params", partial(_execute_without_parameters, server))


class TracedConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection of the driver that makes spans of what is not prepared by SQLAlchemy.

    That is what the driver does by itself (`BEGIN`, `COMMIT`), and reads past SQLAlchemy.

    Attributes:
        span_attributes: of the server.
    """

    span_attributes: Attributes = MappingProxyType({})

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Execute a statement."""
        if not is_recording():
            return await super().execute(query, *args, **options)
        with _statement_span(query, self.span_attributes):
            return await super().execute(query, *args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Execute a query and return its rows."""
        if not is_recording():
            return await super().fetch(query, *args, **options)
        with _statement_span(query, self.span_attributes):
            return await super().fetch(query, *args, **options)


def _execute(
    server: Attributes, cursor: Any, statement: str, parameters: Any, context: Any
) -> bool:
    run = context.dialect.do_execute
    return _run_in_span(server, statement, run, cursor, statement, parameters, context)


def _execute_many(
    server: Attributes, cursor: Any, statement: str, parameters: Any, context: Any
) -> bool:
    run = context.dialect.do_executemany
    attributes = {**server, "db.operation.batch.size": len(parameters)}
    return _run_in_span(attributes, statement, run, cursor, statement, parameters, context)


def _execute_without_parameters(
    server: Attributes, cursor: Any, statement: str, context: Any
) -> bool:
    run = context.dialect.do_execute_no_params
    return _run_in_span(server, statement, run, cursor, statement, context)


def _run_in_span(
    attributes: Attributes, statement: str, run: Callable[..., object], *arguments: Any
) -> bool:
    """Run a statement in a span; return False, where nothing is recorded, for others to run it."""
    if not is_recording():
        return False
    with _statement_span(statement, attributes):
        run(*arguments)
    return True


@contextmanager
def _statement_span(statement: str, server: Attributes) -> Iterator[None]:
    name, attributes = describe(statement)
    with client_span(name, {**server, **attributes}) as span:
        try:
            yield
        except Exception as error:
            _set_sqlstate(span, error)
            raise


def _set_sqlstate(span: trace.Span, error: BaseException) -> None:
    """Give the code of the server's error, which has no values in it as its message has."""
    code = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
    if isinstance(code, str):
        span.set_attribute("db.response.status_code", code)


__all__ = ["TracedConnection", "server_attributes", "trace_engine"]
