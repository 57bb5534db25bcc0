"""Orders the spans of a trace by their parents, whatever of them was received."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from devtools.telemetry.spans import Span, Trace

Parent = Literal["none", "received", "elsewhere", "missing"]


@dataclass(frozen=True, slots=True)
class Node:
    """A span and its place.

    Attributes:
        span: itself.
        lasts: for each level down to this one, whether the span there is the last child of its
            parent; empty for a root. What connecting lines are drawn by.
        parent: `received` when it is in the tree; `elsewhere` when it is a span of a caller that
            sends its spans to somebody else, as far as one can know; `missing` when it should be
            here; `none` when there is none.
        has_children: whether spans below it follow.
    """

    span: Span
    lasts: tuple[bool, ...]
    parent: Parent
    has_children: bool


def nodes(trace: Trace) -> list[Node]:
    """Every span of a trace once: parents before children, siblings in the order of their start."""
    by_id = {span.span_id: span for span in trace.spans}
    children: defaultdict[str, list[Span]] = defaultdict(list)
    roots = []
    for span in trace.spans:
        if span.parent_span_id in by_id:
            children[span.parent_span_id].append(span)
        else:
            roots.append(span)
    seen: set[str] = set()
    found = []
    # Spans that are each other's parents hang on no root; the first of them stands for one.
    for root in (*roots, *trace.spans):
        if root.span_id not in seen:
            found += list(_below(root, children, seen))
    return found


def _below(root: Span, children: dict[str, list[Span]], seen: set[str]) -> Iterator[Node]:
    """A span and everything below it; a stack, because a tree may be deeper than Python allows."""
    seen.add(root.span_id)
    waiting: list[tuple[Span, tuple[bool, ...]]] = [(root, ())]
    while waiting:
        span, lasts = waiting.pop()
        below = [each for each in children.get(span.span_id, ()) if each.span_id not in seen]
        yield Node(span, lasts, "received" if lasts else _parent_of_root(span), bool(below))
        seen.update(each.span_id for each in below)
        waiting += [(child, (*lasts, child is below[-1])) for child in reversed(below)]


def _parent_of_root(span: Span) -> Parent:
    if not span.parent_span_id:
        return "none"
    return "elsewhere" if span.parent_is_remote else "missing"
