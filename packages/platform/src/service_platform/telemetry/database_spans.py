"""Makes spans of what PostgreSQL is told, inside of a span that is recorded.

SQLAlchemy calls `_execute` and its like in place of the driver; what the driver does by itself
(`BEGIN`, `COMMIT`) or is told past SQLAlchemy (`acceleration.reader`), it tells afterwards.

Source: OpenTelemetry semantic conventions, "Database client spans" and "PostgreSQL".
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import asyncpg
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import Engine, event

from service_platform.connection_urls import PostgresUrl
from service_platform.telemetry.statement_text import describe
from service_platform.telemetry.tracing import (
    Attributes,
    client_span,
    is_recording,
    set_failed,
    tracer,
)

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


def trace_connection(connection: asyncpg.Connection, server: Attributes) -> None:
    """Make a span of each statement that a connection executes without preparing it first."""
    connection.add_query_logger(partial(_executed, server))


def _execute(
    server: Attributes, cursor: Any, statement: str, parameters: Any, context: Any
) -> bool:
    run = partial(context.dialect.do_execute, cursor, statement, parameters, context)
    return _run_in_span(server, statement, run)


def _execute_many(
    server: Attributes, cursor: Any, statement: str, parameters: Any, context: Any
) -> bool:
    run = partial(context.dialect.do_executemany, cursor, statement, parameters, context)
    return _run_in_span({**server, "db.operation.batch.size": len(parameters)}, statement, run)


def _execute_without_parameters(
    server: Attributes, cursor: Any, statement: str, context: Any
) -> bool:
    run = partial(context.dialect.do_execute_no_params, cursor, statement, context)
    return _run_in_span(server, statement, run)


def _run_in_span(attributes: Attributes, statement: str, run: Callable[[], object]) -> bool:
    """Run a statement in a span; return False, where nothing is recorded, for others to run it."""
    if not is_recording():
        return False
    with client_span(*_described(statement, attributes)) as span:
        try:
            run()
        except Exception as error:
            _set_sqlstate(span, error)
            raise
    return True


def _executed(server: Attributes, query: Any) -> None:
    """Make the span of a query that has ended; `query` is asyncpg's `LoggedQuery`.

    The driver calls it in the next turn of the event loop, when the span that the query belongs to
    may have ended, too.
    """
    around = trace.get_current_span()
    if not around.is_recording():
        context = around.get_span_context()
        if context.is_remote or not context.trace_flags.sampled:
            return
    name, attributes = _described(query.query, server)
    known = getattr(around, "attributes", None) or {}
    if known.get("db.query.text") == attributes["db.query.text"]:
        return  # `_execute_many` has made it
    ended = getattr(around, "end_time", None) or time.time_ns()
    span = tracer.start_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=ended - round(query.elapsed * 1e9),
    )
    if query.exception is not None:
        set_failed(span, query.exception)
        _set_sqlstate(span, query.exception)
    span.end(ended)


def _set_sqlstate(span: trace.Span, error: BaseException) -> None:
    """Give the code of the server's error, which has no values in it as its message has."""
    code = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)
    if isinstance(code, str):
        span.set_attribute("db.response.status_code", code)


def _described(statement: str, server: Attributes) -> tuple[str, dict[str, Any]]:
    name, attributes = describe(statement)
    return name, {**server, **attributes}


__all__ = ["server_attributes", "trace_connection", "trace_engine"]
