"""Many traces on a terminal: a line each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from devtools.telemetry.details import one_line, status_code
from devtools.telemetry.spans import Trace
from devtools.telemetry.times import duration, moment
from devtools.terminal import colour_of, status_style

HEADINGS: Final = (
    "when", "took", "service", "name", "status", "spans", "services", "request id", "trace id",
)  # fmt: skip
RIGHT: Final = frozenset({"took", "status", "spans"})
GAP: Final = 2
SHORTEST_NAME: Final = 16
SHORT: Final = {"request id": 18, "trace id": 12}
"""Of ids that begin with their time, as UUIDv7 do: enough to tell requests of one moment apart."""

Row = dict[str, Text]


def trace_table(traces: Sequence[Trace], width: int) -> Table:
    """A table of traces, in their order.

    Args:
        traces: which.
        width: columns of the terminal. Where they are few, names are cut, ids are shortened to
            beginnings that `./dev trace` understands, and a service is not named twice.
    """
    rows = [_cells(trace) for trace in traces]
    if _room_for_names(rows, width) < SHORTEST_NAME:
        rows = [_shortened(row) for row in rows]
    longest = max(_room_for_names(rows, width), SHORTEST_NAME)
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("", width=0)
    for heading in rows[0]:
        table.add_column(heading, no_wrap=True, justify="right" if heading in RIGHT else "left")
    for row in rows:
        row["name"].truncate(longest, overflow="ellipsis")
        table.add_row("", *row.values())
    return table


def _cells(trace: Trace) -> Row:
    root, code = trace.root, status_code(trace.root)
    failed = trace.errors > 0
    status = Text(str(code), status_style(code)) if code else Text("ok", style="green")
    if failed and (code is None or code < 400):
        status = Text("error", style="red")
    cells = (
        Text(_when(moment(trace.start_ns)), style="dim"),
        Text(duration(trace.duration_ns)),
        Text(one_line(root.service), style=colour_of(root.service)),
        Text(one_line(root.name), style="red" if failed else ""),
        status,
        Text(str(len(trace.spans))),
        Text(" ").join(Text(one_line(each), colour_of(each)) for each in trace.services),
        Text(one_line(" ".join(trace.request_ids))),
        Text(trace.trace_id, style="dim"),
    )
    return dict(zip(HEADINGS, cells, strict=True))


def _when(started: datetime) -> str:
    today = started.date() == datetime.now().astimezone().date()
    return f"{started:%H:%M:%S}" if today else f"{started:%d %b %H:%M}"


def _shortened(row: Row) -> Row:
    """The same without `service`, which `services` begins with, and with beginnings of ids."""
    shorter = {heading: text for heading, text in row.items() if heading != "service"}
    for heading, length in SHORT.items():
        shorter[heading].truncate(length, overflow="crop")
    return shorter


def _room_for_names(rows: Sequence[Row], width: int) -> int:
    """Columns that all the others leave to the names."""
    widths = [
        max(len(heading), *(row[heading].cell_len for row in rows))
        for heading in rows[0]
        if heading != "name"
    ]
    return width - sum(widths) - GAP * (len(rows[0]) + 1)
