"""An HTTP client whose calls are spans, and which passes the trace on.

Source: OpenTelemetry semantic conventions, "HTTP client spans".
"""

from typing import Any, Final

import httpx2
from opentelemetry.trace import Span

from service_platform.context import current_context
from service_platform.telemetry.propagation import trace_headers
from service_platform.telemetry.tracing import client_span, is_recording, set_failed

RESEND_COUNT: Final = "http.request.resend_count"
"""Name of an extension of the request: how often it was sent before."""
_PORTS: Final = {"http": 80, "https": 443}


class TracedClient(httpx2.AsyncClient):
    """An `httpx2.AsyncClient` that makes a span of each request sent in a recorded trace.

    The trace of the request in flight is passed on in any case. The query is left out of the span,
    because callers put secrets into it.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request."""
        if not is_recording():
            request.headers.update(trace_headers(current_context()))
            return await super().send(request, **options)
        with client_span(request.method, describe(request)) as span:
            request.headers.update(trace_headers(current_context()))
            response = await super().send(request, **options)
            _set_answer(span, response)
        return response


def describe(request: httpx2.Request) -> dict[str, str | int]:
    """Return the attributes of the span of a request."""
    url = request.url
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "url.full": str(url.copy_with(query=None, fragment=None, userinfo=b"")),
        "server.address": url.host,
        "server.port": url.port or _PORTS.get(url.scheme, 0),
    }
    if resent := request.extensions.get(RESEND_COUNT):
        attributes[RESEND_COUNT] = resent
    return attributes


def _set_answer(span: Span, response: httpx2.Response) -> None:
    span.set_attribute("http.response.status_code", response.status_code)
    if response.is_error:
        set_failed(span, str(response.status_code))


__all__ = ["RESEND_COUNT", "TracedClient", "describe"]
