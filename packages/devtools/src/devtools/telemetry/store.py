"""Keeps spans in an SQLite file: the receiver writes, `./dev trace` reads at the same time."""

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from devtools.project import state_dir
from devtools.telemetry.spans import ERROR, Span, SpanEvent, SpanLink, Trace

LIMIT: Final = 200_000
"""Spans that are kept; of more, the oldest traces are deleted."""

KEPT_SHARE: Final = 0.9
"""How much is left then: deleting often would cost more than the room is worth."""

SHORTEST_BEGINNING: Final = 8
VERSION: Final = 1
_LAST_CHARACTER: Final = "\U0010ffff"

Order = Literal["latest", "slowest", "errors"]

_COLUMNS: Final = (
    "trace_id", "span_id", "parent_span_id", "service", "name", "kind", "start_ns", "end_ns",
    "status", "status_message", "parent_is_remote", "attributes", "events", "links", "request_id",
)  # fmt: skip
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_span_id TEXT NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    status TEXT NOT NULL,
    status_message TEXT NOT NULL,
    parent_is_remote INTEGER,
    attributes TEXT NOT NULL,
    events TEXT NOT NULL,
    links TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX IF NOT EXISTS traces ON spans (trace_id, start_ns, end_ns, status);
CREATE INDEX IF NOT EXISTS requests ON spans (request_id, trace_id) WHERE request_id <> '';
PRAGMA user_version = {VERSION};
"""
# Columns and orders are ours, values are parameters.
_INSERT: Final = (
    f"INSERT OR REPLACE INTO spans ({', '.join(_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_DELETE_OLDEST: Final = """
DELETE FROM spans WHERE trace_id IN (
    SELECT trace_id FROM (
        SELECT trace_id, sum(count(*)) OVER (ORDER BY max(end_ns) DESC, trace_id) AS kept
        FROM spans GROUP BY trace_id
    ) WHERE kept > ?
)
"""
_ORDERS: Final[dict[Order, str]] = {
    "latest": "ORDER BY min(start_ns) DESC",
    "slowest": "ORDER BY max(end_ns) - min(start_ns) DESC",
    "errors": f"HAVING sum(status = '{ERROR}') > 0 ORDER BY min(start_ns) DESC",
}


class AmbiguousIdError(ValueError):
    """The beginning of an id is that of several.

    Attributes:
        ids: some of them.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__(", ".join(ids))
        self.ids = ids


def store_path() -> Path:
    """Where the spans of the last run are."""
    return state_dir() / "telemetry" / "spans.sqlite3"


def forget() -> None:
    """Remove the spans of the last run."""
    shutil.rmtree(store_path().parent, ignore_errors=True)


class SpanStore:
    """The file, open for writing; used by one thread at a time.

    Args:
        path: of the file, which is made where there is none.
        limit: spans that are kept.
    """

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # statements and URLs are for the eyes of this person only
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")  # nothing here outlives a power cut
        self._connection.executescript(_SCHEMA)
        self._limit = limit
        self._count = self._counted()

    def add(self, spans: Sequence[Span]) -> None:
        """Keep spans; one that is there already, because its answer was lost, is replaced."""
        with self._transaction():
            self._connection.executemany(_INSERT, map(_row, spans))
            self._count += len(spans)
            if self._count > self._limit:
                self._count = self._counted()
            if self._count > self._limit:
                self._connection.execute(_DELETE_OLDEST, (int(self._limit * KEPT_SHARE),))
                self._count = self._counted()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _counted(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM spans").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


class SpanReader:
    """The file, open for reading.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: there is none, or one that another version of this command made.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise FileNotFoundError(path)
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        if self._connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            self._connection.close()
            raise FileNotFoundError(path)

    def traces(self, order: Order, count: int) -> list[Trace]:
        """The first traces in an order; `errors` leaves out those without a failed span."""
        return self._loaded(
            trace_id
            for (trace_id,) in self._connection.execute(
                f"SELECT trace_id FROM spans GROUP BY trace_id {_ORDERS[order]} LIMIT ?",  # noqa: S608
                (count,),
            ).fetchall()
        )

    def find(self, text: str) -> list[Trace]:
        """The traces of a request id or trace id, oldest first; none where nothing has it.

        Args:
            text: an id, or an unambiguous beginning of at least `SHORTEST_BEGINNING` characters.

        Raises:
            AmbiguousIdError: several ids begin so.
        """
        trace_ids = self._of_request(text) or self._with_trace_id(text.lower())
        if not trace_ids and len(text) >= SHORTEST_BEGINNING:
            trace_ids = self._beginning_with(text)
        return sorted(self._loaded(trace_ids), key=lambda trace: trace.start_ns)

    def span(self, trace_id: str, span_id: str) -> Span | None:
        """One span, such as one that a link names."""
        found = self._spans("WHERE trace_id = ? AND span_id = ?", (trace_id, span_id))
        return found[0] if found else None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _of_request(self, request_id: str) -> list[str]:
        return self._ids("SELECT DISTINCT trace_id FROM spans WHERE request_id = ?", request_id)

    def _with_trace_id(self, trace_id: str) -> list[str]:
        return self._ids("SELECT DISTINCT trace_id FROM spans WHERE trace_id = ?", trace_id)

    def _beginning_with(self, text: str) -> list[str]:
        def beginning(column: str, wanted: str) -> list[str]:
            return self._ids(
                f"SELECT DISTINCT {column} FROM spans WHERE {column} >= ? AND {column} < ? "  # noqa: S608
                f"AND {column} <> '' ORDER BY {column}",
                wanted,
                wanted + _LAST_CHARACTER,
            )

        requests = beginning("request_id", text)
        traces = beginning("trace_id", text.lower())
        if len(requests) > 1:
            raise AmbiguousIdError(requests)
        if requests:
            of_request = self._of_request(requests[0])
            # A trace id may begin like its request id: both then mean the same.
            if others := [each for each in traces if each not in of_request]:
                raise AmbiguousIdError(requests + others)
            return of_request
        if len(traces) > 1:
            raise AmbiguousIdError(traces)
        return traces

    def _ids(self, query: str, *values: str) -> list[str]:
        return [each for (each,) in self._connection.execute(query, values)]

    def _loaded(self, trace_ids: Iterable[str]) -> list[Trace]:
        """The traces with these ids, in the same order."""
        found = [self._spans("WHERE trace_id = ?", (trace_id,)) for trace_id in trace_ids]
        return [Trace.of(spans) for spans in found if spans]  # one may have been deleted meanwhile

    def _spans(self, condition: str, values: tuple[Any, ...]) -> list[Span]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM spans {condition}"  # noqa: S608
        return [_span(row) for row in self._connection.execute(query, values)]


@contextmanager
def reading(path: Path) -> Iterator[SpanReader]:
    """Open the file for reading, and close it at the end.

    Raises:
        FileNotFoundError: there is none.
    """
    with closing(SpanReader(path)) as reader:
        yield reader


def _row(span: Span) -> tuple[Any, ...]:
    values = {name: getattr(span, name) for name in _COLUMNS}
    values["attributes"] = _json(span.attributes)
    values["events"] = _json([asdict(each) for each in span.events])
    values["links"] = _json([asdict(each) for each in span.links])
    return tuple(values.values())


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _span(row: tuple[Any, ...]) -> Span:
    values = dict(zip(_COLUMNS, row, strict=True))
    remote = values["parent_is_remote"]
    values["parent_is_remote"] = None if remote is None else bool(remote)
    values["attributes"] = json.loads(values["attributes"])
    values["events"] = tuple(SpanEvent(**each) for each in json.loads(values["events"]))
    values["links"] = tuple(SpanLink(**each) for each in json.loads(values["links"]))
    return Span(**values)
