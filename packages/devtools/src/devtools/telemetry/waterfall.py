"""One trace on a terminal: a line for each span, its time as a bar on an axis that all share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from devtools.telemetry.details import detail, failure, one_line, status_code
from devtools.telemetry.spans import Span, SpanLink, Trace
from devtools.telemetry.times import duration, moment, round_duration, ticks
from devtools.telemetry.tree import Node, nodes
from devtools.terminal import colour_of, status_style

Find = Callable[[str, str], Span | None]
"""Looks a span up by the id of its trace and its own."""

NARROWEST: Final = 60
DURATION_WIDTH: Final = 8
GAP: Final = 2
BAR_SHARE: Final = 0.38
BAR_WIDTHS: Final = (16, 80)
LONGEST_SERVICE: Final = 14
TICK_WIDTH: Final = 12
"""Columns between marks of the axis, at least."""

SHOWN_LINKS: Final = 3
_ENTRIES: Final = frozenset({"server", "consumer"})


@dataclass(frozen=True, slots=True)
class Layout:
    """How many columns each part of a line has."""

    service: int
    label: int
    bar: int

    @classmethod
    def of(cls, trace: Trace, width: int) -> "Layout":
        """Divide a terminal's columns."""
        width = max(width, NARROWEST)
        service = min(max(len(one_line(each)) for each in trace.services), LONGEST_SERVICE)
        least, most = BAR_WIDTHS
        bar = min(max(int(width * BAR_SHARE), least), most)
        return cls(service, width - service - bar - DURATION_WIDTH - 4 * GAP, bar)


def waterfall(trace: Trace, width: int, find: Find) -> Iterator[Text]:
    """The lines that show a trace.

    Args:
        trace: which.
        width: columns of the terminal.
        find: for the spans that links name.
    """
    layout = Layout.of(trace, width)
    yield from _header(trace)
    yield Text()
    yield _axis(trace, layout)
    for node in nodes(trace):
        yield _line(node, trace, layout)
        yield from _remarks(node, layout, find)


def _header(trace: Trace) -> Iterator[Text]:
    root, started = trace.root, moment(trace.start_ns)
    title = Text("  ").append(one_line(root.name), style="bold")
    if (code := status_code(root)) is not None:
        title.append(f"  {code}", style=status_style(code))
    yield title.append(f"  {duration(trace.duration_ns)}", style="bold")
    for request_id in trace.request_ids:
        yield Text("  ").append("request  ", style="dim").append(one_line(request_id))
    yield Text("  ").append("trace    ", style="dim").append(trace.trace_id)
    when = f"{started:%Y-%m-%d %H:%M:%S}.{started:%f}"[:-3]
    sums = Text("  ").append("started  ", style="dim").append(when)
    services, spans, errors = len(trace.services), len(trace.spans), trace.errors
    sums.append(f"   {_counted(spans, 'span')} of {_counted(services, 'service')}", style="dim")
    sums.append(", ", style="dim")
    yield sums.append(
        _counted(errors, "error") if errors else "no errors", style="bold red" if errors else "dim"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _axis(trace: Trace, layout: Layout) -> Text:
    marks = ["0"]
    column = 1
    for tick in _ticks(trace, layout):
        at, label = _column(tick, trace, layout), round_duration(tick)
        if at > column and at + len(label) <= layout.bar:
            marks += [" " * (at - column), label]
            column = at + len(label)
    before = layout.service + layout.label + DURATION_WIDTH + 4 * GAP
    return Text(" " * before).append("".join(marks), style="dim")


def _ticks(trace: Trace, layout: Layout) -> list[int]:
    return ticks(trace.duration_ns, layout.bar // TICK_WIDTH)


def _column(tick: int, trace: Trace, layout: Layout) -> int:
    return min(tick * layout.bar // max(trace.duration_ns, 1), layout.bar - 1)


def _line(node: Node, trace: Trace, layout: Layout) -> Text:
    span = node.span
    colour = colour_of(span.service)
    service = Text(one_line(span.service), style=colour)
    service.truncate(layout.service, overflow="ellipsis", pad=True)
    label = _label(node, layout.label)
    took = f"{duration(span.duration_ns):>{DURATION_WIDTH}}"
    line = Text(" " * GAP).append_text(service).append(" " * GAP).append_text(label)
    line.append(" " * GAP).append(took, style="red" if span.failed else "")
    line.append(" " * GAP).append_text(_bar(span, trace, layout))
    line.rstrip()
    return line


def _label(node: Node, width: int) -> Text:
    """Connecting lines, name, status, exception and most telling attribute, cut to a width."""
    span = node.span
    name_style = "bold" if span.kind in _ENTRIES else ""
    label = (
        Text()
        .append(_connection(node.lasts, width // 2), style="dim")
        .append(one_line(span.name), style=f"{name_style} red" if span.failed else name_style)
    )
    if (code := status_code(span)) is not None:
        label.append(f" {code}", style=status_style(code))
    if span.failed and (reason := failure(span)):
        label.append(f"  {reason}", style="red")
    if more := detail(span):
        label.append(f"  {more}", style="dim")
    label.truncate(width, overflow="ellipsis", pad=True)
    return label


def _connection(lasts: tuple[bool, ...], width: int, *, last: str = "└╴", more: str = "├╴") -> str:
    """Draw the lines from a span's ancestors to its name; of many levels, the last ones.

    Args:
        lasts: of the span.
        width: columns at most.
        last: what leads to a last child.
        more: what leads to another one.
    """
    levels = max(width // 2, 1)
    shown = lasts[-levels:]
    lines = "".join("  " if each else "│ " for each in shown[:-1])
    lines += "".join(last if each else more for each in shown[-1:])
    return f"…{lines[1:]}" if len(lasts) > levels else lines


def _bar(span: Span, trace: Trace, layout: Layout) -> Text:
    """A span's time in half columns, between marks of the axis."""
    halves, total = layout.bar * 2, max(trace.duration_ns, 1)
    begin = min((span.start_ns - trace.start_ns) * halves // total, halves - 1)
    end_ns = span.start_ns + span.duration_ns - trace.start_ns
    end = min(max(-(-end_ns * halves // total), begin + 1), halves)  # rounded up: never invisible
    marks = {_column(tick, trace, layout) for tick in _ticks(trace, layout)}
    style = "red" if span.failed else colour_of(span.service)
    bar = Text()
    for column in range(layout.bar):
        left, right = (begin <= half < end for half in (2 * column, 2 * column + 1))
        if left or right:
            bar.append("━" if left and right else "╸" if left else "╺", style=style)
        else:
            bar.append("┊" if column in marks else " ", style="dim")
    return bar


def _remarks(node: Node, layout: Layout, find: Find) -> Iterator[Text]:
    """What the tree does not show: a parent that was not received, and links."""
    span = node.span
    lines = _connection(node.lasts, layout.label // 2, last="  ", more="│ ")
    below = "│ " if node.has_children else "  "
    indent = Text(" " * (layout.service + 2 * GAP)).append(f"{lines}{below}", style="dim")
    if node.parent == "elsewhere":
        caller = f"↖ its caller is span {span.parent_span_id}"
        yield indent.copy().append(caller, style="dim")
    elif node.parent == "missing":
        parent = f"↖ its parent {span.parent_span_id} was not received"
        yield indent.copy().append(parent, style="yellow")
    links = [each for each in span.links if not _is_parent(each, node)]
    for link in links[:SHOWN_LINKS]:
        yield indent.copy().append(f"↪ linked from {_linked(link, span, find)}", style="dim")
    if len(links) > SHOWN_LINKS:
        yield indent.copy().append(f"↪ and {len(links) - SHOWN_LINKS} more", style="dim")


def _is_parent(link: SpanLink, node: Node) -> bool:
    ids = (node.span.trace_id, node.span.parent_span_id)
    return node.parent == "received" and (link.trace_id, link.span_id) == ids


def _linked(link: SpanLink, span: Span, find: Find) -> str:
    found = find(link.trace_id, link.span_id)
    named = f"{found.name} ({found.service})" if found else f"span {link.span_id}"
    elsewhere = f" of trace {link.trace_id}" if link.trace_id != span.trace_id else ""
    return one_line(f"{named}{elsewhere}")
