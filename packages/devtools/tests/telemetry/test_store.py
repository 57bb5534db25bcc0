from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_spans import REQUEST, TRACE, exception, span

from devtools.telemetry.spans import Span, SpanLink
from devtools.telemetry.store import AmbiguousIdError, Order, SpanReader, SpanStore

OTHER = "1" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry" / "spans.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SpanStore]:
    made = SpanStore(path)
    yield made
    made.close()


@pytest.fixture
def reader(path: Path, store: SpanStore) -> Iterator[SpanReader]:
    made = SpanReader(path)
    yield made
    made.close()


def ids(reader: SpanReader, text: str) -> list[str]:
    return [trace.trace_id for trace in reader.find(text)]


def test_a_span_comes_back_as_it_was(store: SpanStore, reader: SpanReader) -> None:
    whole = span(
        "a", "b", service="users", kind="client", status="error", status_message="no",
        parent_is_remote=False, attributes={"list": [1, None, {"ü": "\0"}]},
        events=(exception("OSError", "gone"),), links=(SpanLink(OTHER, "c" * 16, {"x": 1}),),
        request_id=REQUEST,
    )  # fmt: skip
    store.add([whole])
    assert reader.span(TRACE, whole.span_id) == whole
    assert reader.span(TRACE, "f" * 16) is None
    assert reader.traces("latest", 5)[0].spans == (whole,)


def test_a_span_that_comes_twice_is_there_once(store: SpanStore, reader: SpanReader) -> None:
    store.add([span("a")])
    store.add([span("a", name="again"), span("b")])
    (trace,) = reader.traces("latest", 5)
    assert sorted(each.name for each in trace.spans) == ["again", "work b"]


@pytest.mark.parametrize(
    ("order", "names"),
    [("latest", ["third", "second", "first"]), ("slowest", ["second", "third", "first"]),
     ("errors", ["third", "first"])],
)  # fmt: skip
def test_traces_are_listed_in_an_order(
    store: SpanStore, reader: SpanReader, order: Order, names: list[str]
) -> None:
    store.add([
        span("1", trace_id="1" * 32, name="first", at=0, took=5),
        span("2", "1", trace_id="1" * 32, at=1, status="error"),
        span("3", trace_id="2" * 32, name="second", at=10, took=5),
        span("4", "3", trace_id="2" * 32, at=500),  # later than its parent's end
        span("5", trace_id="3" * 32, name="third", at=20, took=50, status="error"),
    ])  # fmt: skip
    assert [trace.root.name for trace in reader.traces(order, 9)] == names
    assert [trace.root.name for trace in reader.traces(order, 1)] == names[:1]


@pytest.mark.parametrize(
    "text", [REQUEST, TRACE, TRACE.upper(), REQUEST[:13], TRACE[:8], TRACE[:8].upper()]
)
def test_a_trace_is_found_by_either_id_or_its_beginning(
    store: SpanStore, reader: SpanReader, text: str
) -> None:
    store.add([
        span("a", request_id=REQUEST), span("b", "a"), span("c", trace_id=OTHER, request_id="x"),
    ])  # fmt: skip
    (trace,) = reader.find(text)
    assert [each.span_id[0] for each in trace.spans] == ["a", "b"]


def test_short_ids_are_found_whole_only(store: SpanStore, reader: SpanReader) -> None:
    store.add([span("a", request_id="demo-1")])
    assert ids(reader, "demo-1") == [TRACE]
    assert ids(reader, "demo-") == []
    assert ids(reader, TRACE[:7]) == []


def test_all_traces_of_a_request_are_found_oldest_first(
    store: SpanStore, reader: SpanReader
) -> None:
    store.add([span("a", at=9, request_id=REQUEST), span("b", trace_id=OTHER, request_id=REQUEST)])
    assert ids(reader, REQUEST) == [OTHER, TRACE]
    assert ids(reader, REQUEST[:8]) == [OTHER, TRACE]
    assert ids(reader, TRACE) == [TRACE]


@pytest.mark.parametrize("text", ["abcdef01", "ABCDEF01"])
def test_a_beginning_of_several_trace_ids_is_ambiguous(
    store: SpanStore, reader: SpanReader, text: str
) -> None:
    first, second = "abcdef01" + "1" * 24, "abcdef01" + "2" * 24
    store.add([span("a", trace_id=first), span("b", trace_id=second)])
    with pytest.raises(AmbiguousIdError) as told:
        reader.find(text)
    assert told.value.ids == [first, second]


def test_a_beginning_of_a_request_id_and_its_trace_id_is_not_ambiguous(
    store: SpanStore, reader: SpanReader
) -> None:
    """The platform makes one of the other: without its dashes."""
    trace_id = REQUEST.replace("-", "")
    store.add([span("a", trace_id=trace_id, request_id=REQUEST)])
    assert ids(reader, REQUEST[:8]) == [trace_id]
    store.add([span("b", trace_id=REQUEST[:8] + "f" * 24)])
    with pytest.raises(AmbiguousIdError):
        reader.find(REQUEST[:8])


def test_a_beginning_of_several_request_ids_is_ambiguous(
    store: SpanStore, reader: SpanReader
) -> None:
    store.add([span("a", request_id="request-1"), span("b", request_id="request-2")])
    with pytest.raises(AmbiguousIdError, match="request-1, request-2"):
        reader.find("request-")


def test_of_too_many_spans_the_oldest_traces_go(path: Path) -> None:
    store = SpanStore(path, limit=10)
    for number in range(6):  # two spans each; the twelfth is one too many
        both = [span(f"{number}{each}", trace_id=f"{number}" * 32, at=number) for each in "ab"]
        store.add(both)
    store.close()
    left = [trace.spans for trace in SpanReader(path).traces("latest", 99)]
    assert [spans[0].trace_id[0] for spans in left] == ["5", "4", "3", "2"]
    assert all(len(spans) == 2 for spans in left)


def test_spans_of_a_receiver_that_was_started_again_are_counted(path: Path) -> None:
    spans = [span(str(number), trace_id=f"{number}" * 32, at=number) for number in range(1, 9)]
    first = SpanStore(path, limit=6)
    first.add(spans[:6])
    first.close()
    second = SpanStore(path, limit=6)
    second.add(spans[6:])
    second.close()
    assert len(SpanReader(path).traces("latest", 99)) == 5


def test_a_write_that_fails_leaves_nothing_half_done(store: SpanStore, reader: SpanReader) -> None:
    with pytest.raises(Exception, match=r"NOT NULL|parameter"):
        store.add([span("a"), span("b", name=None)])
    assert reader.traces("latest", 9) == []
    store.add([span("c")])
    assert len(reader.traces("latest", 9)) == 1


def test_only_its_owner_reads_the_file(path: Path, store: SpanStore) -> None:
    store.add([span("a")])
    assert [each.stat().st_mode & 0o077 for each in path.parent.iterdir()] == [0, 0, 0]


def test_a_file_of_another_version_is_as_good_as_none(path: Path, store: SpanStore) -> None:
    store._connection.execute("PRAGMA user_version = 99")
    for missing in (path, path.with_name("other")):
        with pytest.raises(FileNotFoundError):
            SpanReader(missing)


def test_a_file_that_nobody_writes_any_more_is_read(path: Path) -> None:
    store = SpanStore(path)
    kept: Span = span("a")
    store.add([kept])
    store.close()
    assert SpanReader(path).traces("latest", 1)[0].root == kept
