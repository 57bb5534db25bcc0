import pytest
from rich.text import Text
from sample_spans import REQUEST, TRACE, exception, span

from devtools.services import AUTH, service_named
from devtools.telemetry.spans import Span, SpanLink, Trace
from devtools.telemetry.waterfall import Find, waterfall

WIDTH = 80


def nothing(_trace_id: str, _span_id: str) -> None:
    return None


def lines(*spans: Span, width: int = WIDTH, find: Find = nothing) -> list[Text]:
    return list(waterfall(Trace.of(spans), width, find))


def rows(*spans: Span, width: int = WIDTH, find: Find = nothing) -> list[str]:
    """The lines below the axis."""
    texts = [line.plain for line in lines(*spans, width=width, find=find)]
    return texts[texts.index("") + 2 :]


def style_at(line: Text, part: str) -> set[str]:
    at = line.plain.index(part)
    return {word for each in line.spans if each.start <= at < each.end
            for word in str(each.style).split()}  # fmt: skip


REGISTERED = (
    span("a", service="auth", name="POST /x", kind="server", took=100, request_id=REQUEST,
         attributes={"http.response.status_code": 201}),
    span("b", "a", service="auth", name="INSERT accounts", kind="client", at=25, took=50,
         attributes={"db.query.text": "INSERT INTO accounts (id) VALUES ($1)"}),
    span("c", "a", service="users", name="process auth", kind="consumer", at=150, took=50),
    span("d", "c", service="users", name="COMMIT", kind="client", at=199.9, took=0.1),
)  # fmt: skip


def test_the_whole_picture() -> None:
    assert [line.plain for line in lines(*REGISTERED)][5:] == [
        "                                                  0              100 ms",
        "  auth   POST /x 201                      100 ms  ━━━━━━━━━━━━━━━┊",
        "  auth   ├╴INSERT accounts  INSERT IN…   50.0 ms     ╺━━━━━━━╸   ┊",
        "  users  └╴process auth                  50.0 ms                 ┊      ╺━━━━━━━",
        "  users    └╴COMMIT                       100 µs                 ┊             ╺",
    ]


def test_the_header_says_what_when_and_how_much() -> None:
    title, request, trace, sums = (line.plain for line in lines(*REGISTERED)[:4])
    assert title == "  POST /x  201  200 ms"
    assert request.split() == ["request", REQUEST]
    assert trace.split() == ["trace", TRACE]
    assert sums.startswith("  started  20")
    assert sums.endswith("   4 spans of 2 services, no errors")
    assert lines(span("a", status="error"))[2].plain.endswith("1 span of 1 service, 1 error")


@pytest.mark.parametrize("width", [60, 80, 111, 160, 300])
def test_lines_are_as_wide_as_the_terminal_at_most(width: int) -> None:
    wide = span("b", "a", name="寿司" * 100, service="a service with a long name", took=200)
    found = lines(*REGISTERED, wide, width=width)[4:]
    assert max(line.cell_len for line in found) == width
    bars = max(line.plain.count("━") for line in found)
    assert bars == min(int(width * 0.38), 80)


def test_each_service_has_its_colour_and_errors_are_red() -> None:
    failed = span(
        "b", "a", service="users", name="query", took=1, status="error",
        events=(exception("asyncpg.DeadlockDetectedError", "deadlock"),),
        attributes={"db.query.text": "SELECT 1"},
    )  # fmt: skip
    root, line = lines(span("a", took=2, kind="server"), failed, width=120)[-2:]
    assert "query  DeadlockDetectedError: deadlock  SELECT 1" in line.plain
    assert style_at(root, "auth") == {AUTH.colour}
    assert style_at(root, "━") == {AUTH.colour}
    assert style_at(root, "work") == {"bold"}
    assert style_at(line, "users") == {service_named("users").colour}
    for part in ("query", "Deadlock", "1.00 ms", "━"):
        assert style_at(line, part) == {"red"}, part
    assert style_at(line, "SELECT") == {"dim"}


@pytest.mark.parametrize(
    ("remote", "remark", "style"),
    [
        (True, "↖ its caller is span e000000000000000", "dim"),
        (False, "↖ its parent e000000000000000 was not received", "yellow"),
        (None, "↖ its parent e000000000000000 was not received", "yellow"),
    ],
)
def test_a_parent_that_was_not_received_is_told(
    remote: bool | None, remark: str, style: str
) -> None:
    root, told = lines(span("a", "e", parent_is_remote=remote))[-2:]
    assert "work a" in root.plain
    assert told.plain.strip() == remark
    assert style_at(told, "↖") == {style}


def test_links_are_shown_unless_the_tree_does() -> None:
    other = span("f", trace_id="1" * 32, name="create auth", service="auth")
    links = [SpanLink(TRACE, "a".ljust(16, "0")), SpanLink("1" * 32, other.span_id)]
    links += [SpanLink(TRACE, str(number) * 16) for number in range(4)]
    child = span("b", "a", name="process", service="users", links=links)

    def find(trace_id: str, _: str) -> Span | None:
        return other if trace_id == other.trace_id else None

    assert [each.strip() for each in rows(span("a"), child, span("c", "b"), find=find)[2:6]] == [
        f"│ ↪ linked from create auth (auth) of trace {'1' * 32}",
        f"│ ↪ linked from span {'0' * 16}",
        f"│ ↪ linked from span {'1' * 16}",
        "│ ↪ and 2 more",
    ]


def test_deep_trees_keep_room_for_names() -> None:
    chain = [span(f"{n:03x}", f"{n - 1:03x}" if n else "", at=n) for n in range(40)]
    last = rows(*chain)[-1]
    assert "… " in last
    assert "└╴work" in last


@pytest.mark.parametrize(
    ("at", "took", "bar"),
    [(0, 0, "╸"), (100, 0, "╺"), (50, 0, "╸"), (-5, 10, "━━━")],
)
def test_a_bar_is_never_invisible(at: float, took: float, bar: str) -> None:
    line = rows(span("a", took=100), span("b", "a", at=at, took=took))
    (found,) = (each for each in line if "work b" in each)
    assert found.split("s  ")[-1].replace("┊", "").strip() == bar


def test_a_trace_of_no_duration_is_drawn() -> None:
    assert rows(span("a", took=0))[0].endswith("0 ns  ╸")
    assert rows(span("a", took=-5))[0].endswith("0 ns  ╸")
