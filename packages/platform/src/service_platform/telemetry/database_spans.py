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
_COMMENT: Final = r"/\*(?:[^*/]|\*(?!/)|/(?!\*)%s)*(?:\*/|\Z)"
_TOKEN: Final = re.compile(
    rf"""(?P<name>"(?:[^"]|"")*(?:"|\Z))          # a quoted name stays
    | (?P<comment>--[^\n]*|{_COMMENT % ("|" + _COMMENT % "")})  # in which quotes are none
    | (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)  # text with escapes
    | '(?:[^']|'')*(?:'|\Z)                      # text
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)  # text between dollars
    | (?<![\w$])\d(?:[eE][+-]\d|[\w.])*          # a number that is no $1 and in no name""",
    re.VERBOSE | re.DOTALL,
)
_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_WORD: Final = re.compile(
    rf"""(?P<bracket>[()])
    | \b(?P<before>FROM|INTO|UPDATE)\s+(?:ONLY\s+)?(?P<table>{_NAME}(?:\.{_NAME})*)
      (?P<call>(?=\s*\())?
    | \b(?P<operation>SELECT|INSERT|UPDATE|DELETE|MERGE)\b
    | {_NAME}                               # any other""",
    re.VERBOSE | re.IGNORECASE,
)
_BEFORE_TABLE: Final = {
    "SELECT": "FROM",
    "INSERT": "INTO",
    "UPDATE": "UPDATE",
    "DELETE": "FROM",
    "MERGE": "INTO",
}


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


@lru_cache(maxsize=1024)
def describe(statement: str) -> tuple[str, dict[str, str]]:
    """Return the name and the attributes of a statement's span, without any value.

    The name is the operation and the first table it is about, such as `SELECT items`. Parameters
    are `$1` and stay; literals become `?`.
    """
    text = " ".join(_TOKEN.sub(_without_value, statement).split())
    main = text.lstrip("( ")
    operation, table = main.partition(" ")[0].rstrip(";").upper(), ""
    if operation == "WITH" or operation in _BEFORE_TABLE:
        operation, table = _operation_and_table(main)
    name = f"{operation} {table}".strip()
    attributes = {
        "db.system.name": "postgresql",
        "db.query.text": text,
        "db.operation.name": operation,
        "db.query.summary": name,
    }
    if table:
        attributes["db.collection.name"] = table
    return name, attributes


def _operation_and_table(text: str) -> tuple[str, str]:
    """Return what a statement does, and the table it is about or that of its first subquery.

    What is in brackets is an operation of its own, such as a common table expression, or none: the
    `FROM` in `extract(epoch FROM now())`.
    """
    operations, tables = [""], dict[int, str]()
    for word in _WORD.finditer(text):
        if word["bracket"] == "(":
            operations.append("")
        elif word["bracket"] and len(operations) > 1:
            operations.pop()
        elif word["operation"] or (word["before"] or "").upper() == "UPDATE":
            operations[-1] = operations[-1] or (word["operation"] or "UPDATE").upper()
        before, operation = (word["before"] or "").upper(), operations[-1]
        is_function = before == "FROM" and word["call"] is not None
        if before and before == _BEFORE_TABLE.get(operation) and not is_function:
            tables.setdefault(len(operations), word["table"].replace('"', ""))
    return operations[0] or "WITH", tables[min(tables)] if tables else ""


def _without_value(token: re.Match[str]) -> str:
    if token["name"]:
        return token["name"]
    return " " if token["comment"] else "?"


__all__ = ["describe", "server_attributes", "trace_connection", "trace_engine"]
