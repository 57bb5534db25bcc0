"""`./dev trace` on spans that were kept, with and without a system that runs."""

import json
from pathlib import Path

import pytest
from sample_spans import REQUEST, TRACE, span

from devtools import state
from devtools.errors import CommandError, UsageError
from devtools.state import State
from devtools.telemetry.store import SpanStore, store_path
from devtools.terminal import WIDTH
from devtools.trace import trace

OTHER = TRACE[:8] + "9" * 24


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def kept() -> None:
    store = SpanStore(store_path())
    store.add([
        span("a", name="POST /x", kind="server", took=9, request_id=REQUEST),
        span("b", "a", name="INSERT x", at=1, service="users", status="error"),
        span("c", trace_id=OTHER, name="GET /y", at=50, took=4, request_id="demo-1"),
    ])  # fmt: skip
    store.close()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_request_is_shown_with_its_log_lines(
    kept: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "users.log").write_text(
        f"2026-03-01T10:00:00.000000+0000 10:00:00.000 [info] mine request_id={REQUEST}\n"
        f"2026-03-01T10:00:00.000000+0000 10:00:00.000 [info] another one\n"
    )
    trace(f" {REQUEST[:13]}… ")
    shown = said(capsys)
    assert shown.index("POST /x") < shown.index("└╴INSERT x") < shown.index("mine")
    assert f"{'users':<{WIDTH}} │ 10:00:00.000 [info] mine" in shown
    assert "another one" not in shown
    assert "GET /y" not in shown


def test_a_trace_without_log_lines_is_shown(kept: None, capsys: pytest.CaptureFixture[str]) -> None:
    trace("demo-1")
    shown = said(capsys)
    assert "GET /y" in shown
    assert "No log line has these ids." in shown


def test_traces_are_listed(kept: None, capsys: pytest.CaptureFixture[str]) -> None:
    def names() -> list[str]:
        return [line.split("auth")[1].split()[1] for line in said(capsys).splitlines()[2:-2]]

    trace()
    assert names() == ["/y", "/x"]
    trace(slowest=True)
    assert names() == ["/x", "/y"]
    trace(errors=True)
    assert names() == ["/x"]
    trace(slowest=True, count=1)
    assert names() == ["/x"]


def test_json_has_every_span(kept: None, capsys: pytest.CaptureFixture[str]) -> None:
    trace(TRACE, as_json=True)
    spans = json.loads(said(capsys))
    assert [(each["name"], each["status"]) for each in spans] == [
        ("POST /x", "unset"), ("INSERT x", "error"),
    ]  # fmt: skip
    trace(as_json=True)
    assert len(json.loads(said(capsys))) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no-such-request", "No request or trace has the id no-such-request; spans come half"),
        ("0af765", "has the id 0af765; the beginning of one needs at least 8 characters"),
        (TRACE[:8], f"{TRACE[:8]} is ambiguous: {TRACE}, {OTHER} begin so; give more"),
    ],
)
def test_an_id_that_names_no_single_request(kept: None, text: str, sentence: str) -> None:
    with pytest.raises(CommandError) as told:
        trace(text)
    assert sentence in str(told.value)


def test_one_question_at_a_time(kept: None) -> None:
    for arguments in ({"slowest": True, "errors": True}, {"id_": TRACE, "errors": True}):
        with pytest.raises(UsageError, match="one of an id, --slowest and --errors"):
            trace(**arguments)


def test_without_spans_it_says_how_to_get_some(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError) as told:
        trace()
    assert str(told.value) == "Telemetry is not on; start the system with ./dev up --telemetry."
    assert told.value.exit_status == 3
    SpanStore(store_path()).close()
    trace()
    assert "No spans have come yet." in said(capsys)
    trace(errors=True)
    assert "No trace has an error." in said(capsys)


def test_spans_that_go_elsewhere_are_not_here() -> None:
    with state.take():
        State(pid=1, otlp_endpoint="https://me:secret@viewer.example").save()
        with pytest.raises(CommandError) as told:
            trace(TRACE)
    assert str(told.value) == (
        "The spans go to https://viewer.example; to see them here, "
        "start the system with ./dev up --telemetry."
    )
