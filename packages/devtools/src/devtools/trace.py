"""`./dev trace`: what the services did for a request, one by one and with their times."""

import dataclasses
import json
import os
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from devtools import state
from devtools.addresses import without_user
from devtools.errors import CommandError, UsageError
from devtools.telemetry.spans import Trace
from devtools.telemetry.store import (
    SHORTEST_BEGINNING,
    AmbiguousIdError,
    Order,
    SpanReader,
    reading,
    store_path,
)
from devtools.telemetry.trace_logs import lines_with
from devtools.telemetry.trace_table import trace_table
from devtools.telemetry.waterfall import waterfall
from devtools.terminal import Terminal

FOR_PROGRAMS: Final = 300
"""Columns of a table that no terminal shows: whatever reads it wants whole ids."""

START: Final = "start the system with ./dev up --telemetry"


class TelemetryOffError(CommandError):
    """No spans are kept; the message says how they will be."""

    exit_status = 3


class NoSuchTraceError(CommandError):
    """Nothing has the id; the message says why that may be."""


def trace(
    id_: Annotated[
        str | None,
        typer.Argument(
            metavar="[REQUEST_ID|TRACE_ID]", help="Which; 8 characters of its beginning will do."
        ),
    ] = None,
    *,
    slowest: Annotated[bool, typer.Option("--slowest", help="List the slowest traces.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="List traces with an error.")] = False,
    count: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many to list.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the spans as JSON.")] = False,
) -> None:
    """Show the spans and log lines of a request, across all services; without an id, list traces.

    The request id is the header X-Request-ID of every response.
    """
    if slowest + errors + (id_ is not None) > 1:
        raise UsageError("Give one of an id, --slowest and --errors.")
    order: Order = "slowest" if slowest else "errors" if errors else "latest"
    try:
        with reading(store_path()) as reader:
            traces = reader.traces(order, count) if id_ is None else _found(reader, id_)
            if as_json:
                typer.echo(json.dumps(_as_json(traces), indent=2))
            elif id_ is None:
                _show_table(traces, order)
            else:
                _show(traces, reader)
    except FileNotFoundError:
        raise _off() from None


def _found(reader: SpanReader, text: str) -> list[Trace]:
    """The traces of an id.

    Raises:
        NoSuchTraceError: there is none.
        UsageError: several ids begin so.
    """
    wanted = text.strip().rstrip("…")
    try:
        traces = reader.find(wanted)
    except AmbiguousIdError as error:
        several = ", ".join(error.ids[:3])
        more = f" and {len(error.ids) - 3} more" if len(error.ids) > 3 else ""
        raise UsageError(f"{wanted} is ambiguous: {several}{more} begin so; give more.") from None
    if traces:
        return traces
    if len(wanted) < SHORTEST_BEGINNING:
        raise UsageError(
            f"No request or trace has the id {wanted}; the beginning of one needs at least "
            f"{SHORTEST_BEGINNING} characters."
        )
    raise NoSuchTraceError(
        f"No request or trace has the id {wanted}; spans come half a second after their request, "
        f"and ./dev trace lists what there is."
    )


def _off() -> TelemetryOffError:
    found = state.running()
    if found is not None and found.otlp_endpoint:
        elsewhere = without_user(found.otlp_endpoint)
        return TelemetryOffError(f"The spans go to {elsewhere}; to see them here, {START}.")
    return TelemetryOffError(f"Telemetry is not on; {START}.")


def _show_table(traces: list[Trace], order: Order) -> None:
    terminal = Terminal()
    if not traces:
        what = "No trace has an error." if order == "errors" else "No spans have come yet."
        terminal.say(what)
        return
    terminal.console.print()
    if not terminal.console.is_terminal:
        terminal.console.width = FOR_PROGRAMS
    terminal.console.print(trace_table(traces, terminal.console.width))
    terminal.console.print()
    terminal.say("./dev trace ID shows one, by its request id or trace id.")


def _show(traces: list[Trace], reader: SpanReader) -> None:
    terminal = Terminal()
    for each in traces:
        terminal.console.print()
        for line in waterfall(each, _width(terminal), reader.span):
            terminal.console.print(line)
    terminal.console.print()
    ids = {id_ for each in traces for id_ in (each.trace_id, *each.request_ids)}
    logged = lines_with(ids)
    for written, name in logged:
        terminal.heard(name, written.text)
    if not logged:
        terminal.say("No log line has these ids.")
    terminal.console.print()


def _width(terminal: Terminal) -> int:
    """Columns that there are: a bar that a narrow terminal breaks in two shows nothing."""
    known = terminal.console.is_terminal or "COLUMNS" in os.environ
    return Console().width if known else terminal.console.width


def _as_json(traces: list[Trace]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(span) for each in traces for span in each.spans]
