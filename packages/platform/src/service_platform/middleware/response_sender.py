"""Sends responses with the headers that every response has.

The platform's headers are added to the first message of a response, whoever makes it: a route, an
exception handler, or Starlette by itself.
"""

import time
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Send

from service_platform.context import RequestContext
from service_platform.errors import PayloadTooLarge, Problem
from service_platform.middleware import response_headers
from service_platform.middleware.content_encoding import MINIMUM_BYTES
from service_platform.middleware.cors import CorsPolicy
from service_platform.middleware.deadlines import Deadlines
from service_platform.middleware.request_body import RequestBody
from service_platform.middleware.response_headers import (
    BEHIND_TLS,
    PLAIN,
    ContentSecurityPolicies,
)
from service_platform.resources import Lifecycle

_TOO_LARGE_IN_PLAIN_TEXT: Final = b"17"
"""Length of `Content Too Large`, which Starlette's body limit answers in plain text."""
_NO_CONTENT_TYPE: Final = b""


def problem_response(context: RequestContext, problem: Problem) -> Response:
    """Make the response of a problem to a request."""
    return problem.response(
        base_url=context.settings.problem_type_base_url,
        request_id=context.request_id,
        trace_id=context.trace_id,
    )


class ResponseSender:
    """Completes the head of responses: request id, security, CORS, `Vary`, `Connection`.

    Args:
        lifecycle: tells when the process drains.
        deadlines: of the requests in flight; a response that starts has none any more.
        content_security_policies: policies by path prefix.
        cors: tells whether responses differ by origin.
        record: called once all of a response is sent.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        deadlines: Deadlines,
        content_security_policies: ContentSecurityPolicies,
        cors: CorsPolicy,
        record: Callable[[RequestContext], None],
    ) -> None:
        self._lifecycle = lifecycle
        self._deadlines = deadlines
        self._content_security_policies = content_security_policies
        self._varies_by_origin = (b"Origin",) if cors.varies else ()
        self._varies_by_encoding_too = (b"Accept-Encoding", *self._varies_by_origin)
        self._record = record

    def wrap(self, context: RequestContext, body: RequestBody | None, send: Send) -> Send:
        """Return the `send` of one request, which adds the platform's headers.

        Args:
            context: of the request.
            body: of the request, where it has one.
            send: of the server.
        """
        replacement: Response | None = None

        async def send_with_headers(message: Message) -> None:
            nonlocal replacement
            if message["type"] == "http.response.start":
                if message["status"] == PayloadTooLarge.status:
                    if body is not None:
                        await body.discard()
                    replacement = _replace_plain_text(context, message)
                self._complete_head(context, body, message)
                await send(message)
                if replacement is not None:
                    await send({"type": "http.response.body", "body": replacement.body})
            elif replacement is None:
                await send(message)
                # Background tasks come after the response and are no part of it.
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    self._record(context)

        return send_with_headers

    def _complete_head(
        self, context: RequestContext, body: RequestBody | None, message: Message
    ) -> None:
        """Add the platform's headers to the head of a response, which ends its time limit."""
        status = context.status = message["status"]
        self._deadlines.end(context)
        elapsed = (time.perf_counter() - context.started) * 1000
        additional = [
            *(BEHIND_TLS if context.scheme == "https" else PLAIN),
            self._content_security_policies.of(context.path),
            *context.response_headers,
            (b"x-request-id", context.request_id.encode("ascii")),
            (b"x-response-time", b"%.2fms" % elapsed),
        ]
        unread = status == PayloadTooLarge.status and body is not None and not body.complete
        if unread or self._lifecycle.draining:
            additional.append((b"connection", b"close"))
        length = MINIMUM_BYTES
        own = message.get("headers", ())
        for name, value in own:
            if name == b"content-length":
                length = int(value)
            elif name == b"content-type" and value.startswith(b"text/event-stream"):
                self._watch_event_stream(context)
        varies = self._varies_by_origin
        if length >= MINIMUM_BYTES or status == 304:
            varies = self._varies_by_encoding_too
        message["headers"] = response_headers.merge(own, additional, varies)

    def _watch_event_stream(self, context: RequestContext) -> None:
        """Have a stream without an end of its own ended when the process drains."""
        task = context.task
        if task is None:
            return

        def end() -> None:
            context.stream_ended = True
            task.cancel()

        self._lifecycle.watch_event_stream(task, end)


def _replace_plain_text(context: RequestContext, message: Message) -> Response | None:
    """Replace the head of Starlette's plain 413 by that of a problem.

    Its body limit answers by itself, outside of exception handlers. A service with an own handler
    for `HTTPException` gets what FastAPI would send.
    """
    headers = dict(message["headers"])
    if (
        headers.get(b"content-length") != _TOO_LARGE_IN_PLAIN_TEXT
        or not headers.get(b"content-type", _NO_CONTENT_TYPE).startswith(b"text/plain")
        or not context.answers_problems
    ):
        return None
    response = problem_response(context, PayloadTooLarge())
    message["headers"] = response.raw_headers
    return response
