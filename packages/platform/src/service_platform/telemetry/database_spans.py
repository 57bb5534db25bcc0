"""Makes spans of what PostgreSQL is told, inside of a span that is recorded.

SQLAlchemy calls `_execute` and its like in place of the driver; what the driver does by itself
(`BEGIN`, `COMMIT`) or is told past SQLAlchemy (`acceleration.reader`), it tells afterwards.

Source: OpenTelemetry semantic conventions, "Database client spans" and "PostgreSQL".
"""

import re
import time
from functools import lru_cache, partial
from typing import Any, Final

import asyncpg
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import Engine, event

from service_platform.connection_urls import PostgresUrl
from service_platform.telemetry.tracing import (
    Attributes,
    client_span,
    is_recording,
    set_failed,
    tracer,
)

DEFAULT_PORT: Final = 5432
_TOKEN: Final = re.compile(
    r"""(?P<name>"(?:[^"]|"")*")            # a quoted name stays
    | [eE]'(?:[^'\\]|\\.|'')*'             # text with escapes
    | '(?:[^']|'')*'                       # text
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$         # text between dollars
    | (?<![\w$])\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b  # a number that is no $1 and in no name""",
    re.VERBOSE | re.DOTALL,
)
_MAIN_STATEMENT: Final = re.compile(
    r"\)\s*(?=(?:SELECT|INSERT|UPDATE|DELETE|MERGE)\b)", re.IGNORECASE
)
_TABLE: Final = re.compile(
    r'\b(?:FROM|INTO|UPDATE)\s+(?:ONLY\s+)?"?(?P<table>[A-Za-z_][\w.]*)"?(?![\w.]|\s*\()',
    re.IGNORECASE,
)
_ABOUT_A_TABLE: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})


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
    if not is_recording():
        return False
    with client_span(*_described(statement, server)) as span:
        try:
            context.dialect.do_execute(cursor, statement, parameters, context)
        except Exception as error:
            _set_sqlstate(span, error)
            raise
    return True


def _execute_many(
    server: Attributes, cursor: Any, statement: str, parameters: Any, context: Any
) -> bool:
    if not is_recording():
        return False
    name, attributes = _described(statement, server)
    with client_span(name, {**attributes, "db.operation.batch.size": len(parameters)}) as span:
        try:
            context.dialect.do_executemany(cursor, statement, parameters, context)
        except Exception as error:
            _set_sqlstate(span, error)
            raise
    return True


def _execute_without_parameters(
    server: Attributes, cursor: Any, statement: str, context: Any
) -> bool:
    if not is_recording():
        return False
    with client_span(*_described(statement, server)) as span:
        try:
            context.dialect.do_execute_no_params(cursor, statement, context)
        except Exception as error:
            _set_sqlstate(span, error)
            raise
    return True


def _executed(server: Attributes, query: Any) -> None:
    """Make the span of a query that has ended; `query` is asyncpg's `LoggedQuery`."""
    if not is_recording():
        return
    ended = time.time_ns()
    name, attributes = _described(query.query, server)
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


@lru_cache(maxsize=1024)
def describe(statement: str) -> tuple[str, dict[str, str]]:
    """Return the name and the attributes of a statement's span, without any value.

    The name is the operation and the first table it is about, such as `SELECT items`. Parameters
    are `$1` and stay; literals become `?`.
    """
    text = " ".join(_TOKEN.sub(lambda match: match["name"] or "?", statement).split())
    main = text
    if text[:5].upper() == "WITH " and (begin := _MAIN_STATEMENT.search(text)):
        main = text[begin.end() :]
    name = operation = main.partition(" ")[0].rstrip(";").upper()
    attributes = {
        "db.system.name": "postgresql",
        "db.query.text": text,
        "db.operation.name": operation,
    }
    table = _TABLE.search(main if operation != "INSERT" else main.partition("(")[0] + " ;")
    if operation in _ABOUT_A_TABLE and table is not None:
        attributes["db.collection.name"] = table["table"]
        name = f"{operation} {table['table']}"
    attributes["db.query.summary"] = name
    return name, attributes


__all__ = ["describe", "server_attributes", "trace_connection", "trace_engine"]
