"""Calls of other services: their spans, and the trace that is passed on."""

import pytest
from httpx2 import AsyncClient, ConnectError, Request
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext
from packages.platform.tests.telemetry.conftest import Traced

from service_platform.context import RequestContext, current
from service_platform.settings import PlatformSettings
from service_platform.telemetry.http_spans import RESEND_COUNT, TracedClient, describe
from service_testing.collector import Collector
from service_testing.ports import free_port

CALLERS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@pytest.mark.parametrize(
    ("url", "told", "port"),
    [
        ("http://users/a/b", "http://users/a/b", 80),
        ("https://me:hunter2@users:8443/a?token=hunter2#hunter2", "https://users:8443/a", 8443),
        ("https://users/", "https://users/", 443),
    ],
)
def test_no_password_and_no_query_is_in_a_span(url: str, told: str, port: int) -> None:
    assert describe(Request("GET", url)) == {
        "http.request.method": "GET",
        "url.full": told,
        "server.address": "users",
        "server.port": port,
    }


def test_a_request_that_is_sent_again_says_so() -> None:
    assert (
        describe(Request("GET", "http://users/", extensions={RESEND_COUNT: 2}))[RESEND_COUNT] == 2
    )
    assert RESEND_COUNT not in describe(Request("GET", "http://users/"))


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_a_call_is_a_span_and_the_parent_of_what_is_called(
    traced: Traced, collector: Collector, status: int
) -> None:
    async def call() -> None:
        statuses = [status]  # of the call; spans come later
        collector.answer = lambda: (statuses.pop() if statuses else 200, b"")
        async with TracedClient() as client:
            await client.post(f"{collector.url}/orders?token=hunter2", content=b"a")

    (made,) = await traced(call())
    sent = next(each for each in collector.headers if each["content-length"] == "1")
    assert sent["traceparent"][:52] == f"00-{made.trace_id}-{made.span_id}"
    assert (made.name, made.kind) == ("POST", 3)
    assert made.attributes["url.full"] == f"{collector.url}/orders"
    assert made.attributes["http.response.status_code"] == status
    assert made.is_error is (status >= 400)
    assert made.attributes.get("error.type") == (str(status) if status >= 400 else None)


async def test_a_call_that_nobody_answers_is_told_by_its_kind(traced: Traced) -> None:
    async def call() -> None:
        async with TracedClient() as client:
            with pytest.raises(ConnectError):
                await client.get(f"http://127.0.0.1:{free_port()}/")

    (made,) = await traced(call())
    assert made.is_error
    assert made.attributes["error.type"] == "ConnectError"
    assert made.events == []


async def traceparent_of(client: AsyncClient, collector: Collector) -> str | None:
    collector.headers.clear()
    await client.post(f"{collector.url}/orders", content=b"a")
    return collector.headers[0].get("traceparent")


async def test_a_trace_that_is_not_recorded_is_passed_on_without_a_span(
    collector: Collector,
) -> None:
    async with TracedClient() as client:
        assert await traceparent_of(client, collector) is None
        sent = {b"traceparent": CALLERS.encode()}
        reset = current.set(RequestContext({}, sent, settings=PlatformSettings(_env_file=None)))
        assert await traceparent_of(client, collector) == CALLERS
        current.reset(reset)
        with trace.use_span(NonRecordingSpan(SpanContext(5, 6, is_remote=True))):
            assert await traceparent_of(client, collector) == f"00-{5:032x}-{6:016x}-00"
    assert collector.spans == []
