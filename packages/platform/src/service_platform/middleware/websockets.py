"""Serves WebSockets: token, `Origin`, rate limit of messages, metrics, access log (RFC 6455).

A browser cannot set `Authorization` for a WebSocket. It offers the token as a subprotocol behind
the name `bearer`, which is taken out before the application sees it:

    new WebSocket(url, ["bearer", token])

Limits of connections are decided as for requests, see `admission.py`; an endpoint's
`@limit("20/second", per="message")` counts the messages of its clients.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Send

from service_platform import metrics
from service_platform.context import RequestContext
from service_platform.errors import Forbidden, Problem
from service_platform.logging import get_logger
from service_platform.middleware.access_log import AccessLog
from service_platform.middleware.cors import CorsPolicy
from service_platform.settings import PlatformSettings

TOKEN_SUBPROTOCOL: Final = "bearer"  # noqa: S105 - its name

NORMAL_CLOSURE: Final = 1000
ABNORMAL_CLOSURE: Final = 1006
POLICY_VIOLATION: Final = 1008
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
"""Close codes (RFC 6455, section 7.4, and IANA's registry)."""

_PROTOCOLS: Final = b"sec-websocket-protocol"

log = get_logger("service_platform.errors")


class WebSocketLayer:
    """Adds what the platform does for every WebSocket around an ASGI application.

    Args:
        app: the application inside.
        settings: where problems are documented.
        cors: which origins may connect from a browser, besides the service's own.
        access_log: gets an event when a WebSocket ends.
    """

    def __init__(
        self, app: ASGIApp, settings: PlatformSettings, cors: CorsPolicy, access_log: AccessLog
    ) -> None:
        self._app = app
        self._settings = settings
        self._cors = cors
        self._access_log = access_log

    async def serve(
        self, context: RequestContext, receive: Receive, send: Send, accepted: Callable[[], None]
    ) -> None:
        """Serve one WebSocket until it ends.

        Args:
            context: of the WebSocket.
            receive: of the server.
            send: of the server.
            accepted: called when the application accepts or refuses; its deadline ends there.
        """
        connection = WebSocketConnection(context, receive, send, accepted)
        try:
            if not self._may_connect(context):
                await self._refuse(context, Forbidden("This origin may not connect."), connection)
                return
            connection.take_token()
            await self._app(context.scope, connection.receive, connection.send)
        except asyncio.CancelledError:
            if not context.timed_out:
                raise
            cast("asyncio.Task[object]", context.task).uncancel()
            await connection.send({"type": "websocket.close", "code": INTERNAL_ERROR})
        except Exception as error:
            connection.close_code = connection.close_code or INTERNAL_ERROR
            log.error("unhandled_error", route=context.route, exc_info=error)
            raise
        finally:
            self._record(context, connection)

    def _may_connect(self, context: RequestContext) -> bool:
        """Check the `Origin`: a page of the service itself, or one that CORS allows.

        Browsers send cookies along and read every message, whatever the page (cross-site WebSocket
        hijacking). Other clients send no `Origin`.
        """
        origin = context.headers.get(b"origin")
        if origin is None or self._cors.allows(origin):
            return True
        own = urlsplit(origin.decode("latin-1"))
        secure = context.scheme == "wss"
        return own.scheme == ("https" if secure else "http") and own.netloc.encode(
            "latin-1"
        ) == context.headers.get(b"host")

    async def _refuse(
        self, context: RequestContext, problem: Problem, connection: "WebSocketConnection"
    ) -> None:
        response = problem.response(
            base_url=self._settings.problem_type_base_url,
            request_id=context.request_id,
            trace_id=context.trace_id,
        )
        await response(context.scope, connection.receive, connection.send)

    def _record(self, context: RequestContext, connection: "WebSocketConnection") -> None:
        seconds = time.perf_counter() - context.started
        route = context.route or metrics.UNMATCHED_ROUTE
        if connection.is_open:
            metrics.websocket_connections.labels(route).dec()
        code = connection.close_code if connection.was_accepted else None
        if connection.was_accepted:
            code = code or ABNORMAL_CLOSURE
            metrics.websocket_duration.labels(route, str(code)).observe(seconds)
            metrics.websocket_messages.labels(route, "received").inc(connection.received)
            metrics.websocket_messages.labels(route, "sent").inc(connection.sent)
        self._access_log.write_websocket(
            context,
            status=context.status or 500,
            close_code=code,
            received=connection.received,
            sent=connection.sent,
            seconds=seconds,
        )


class WebSocketConnection:
    """The messages of one WebSocket in both directions.

    Args:
        context: of the WebSocket.
        receive: of the server.
        send: of the server.
        accepted: called when the application accepts or refuses.

    Attributes:
        received: messages from the client.
        sent: messages to the client.
        close_code: why it ended, 0 while it has not.
        was_accepted: whether the handshake succeeded.
        is_open: whether it counts as open in the metrics.
    """

    def __init__(
        self, context: RequestContext, receive: Receive, send: Send, accepted: Callable[[], None]
    ) -> None:
        self._context = context
        self._receive = receive
        self._send = send
        self._accepted = accepted
        self._token_offered = False
        self.received = 0
        self.sent = 0
        self.close_code = 0
        self.was_accepted = False
        self.is_open = False

    def take_token(self) -> None:
        """Take the access token out of the offered subprotocols, where it is there.

        It becomes the `Authorization` of the context; the application sees the other subprotocols.
        """
        scope = self._context.scope
        offered: list[str] = list(scope.get("subprotocols", ()))
        if TOKEN_SUBPROTOCOL not in offered:
            return
        at = offered.index(TOKEN_SUBPROTOCOL)
        token = offered[at + 1 : at + 2]
        others = offered[:at] + offered[at + 2 :]
        scope["subprotocols"] = others
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != _PROTOCOLS]
        self._context.headers.pop(_PROTOCOLS, None)
        if others:
            value = ", ".join(others).encode("latin-1")
            scope["headers"].append((_PROTOCOLS, value))
            self._context.headers[_PROTOCOLS] = value
        if token:
            self._token_offered = True
            bearer = b"Bearer " + token[0].encode("latin-1")
            self._context.headers.setdefault(b"authorization", bearer)

    async def receive(self) -> Message:
        """Return the next message of the client; a client past its limit is disconnected."""
        message = await self._receive()
        if message["type"] == "websocket.receive":
            self.received += 1
            limit = self._context.message_limit
            if limit is not None and not await limit(self._context):
                await self.send(
                    {
                        "type": "websocket.close",
                        "code": POLICY_VIOLATION,
                        "reason": "The rate limit of messages is exceeded.",
                    }
                )
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": ""}
        elif message["type"] == "websocket.disconnect":
            self.close_code = self.close_code or message.get("code") or NORMAL_CLOSURE
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        kind = message["type"]
        if kind == "websocket.send":
            self.sent += 1
        elif kind == "websocket.accept":
            message = self._accept(message)
        elif kind == "websocket.close":
            self._close(message)
        elif kind == "websocket.http.response.start":
            self._accepted()
            self._context.status = message["status"]
            request_id = (b"x-request-id", self._context.request_id.encode("ascii"))
            headers = [*message.get("headers", ()), *self._context.response_headers, request_id]
            message = {**message, "headers": headers}
        await self._send(message)

    def _accept(self, message: Message) -> Message:
        self._accepted()
        self._context.status = 101
        self.was_accepted = self.is_open = True
        route = self._context.route or metrics.UNMATCHED_ROUTE
        metrics.websocket_connections.labels(route).inc()
        if self._token_offered and not message.get("subprotocol"):
            # Browsers give up where they offered subprotocols and the server chooses none.
            message = {**message, "subprotocol": TOKEN_SUBPROTOCOL}
        request_id = (b"x-request-id", self._context.request_id.encode("ascii"))
        return {**message, "headers": [*message.get("headers", ()), request_id]}

    def _close(self, message: Message) -> None:
        self._accepted()
        if not self.was_accepted:
            self._context.status = 403
        self.close_code = self.close_code or message.get("code") or NORMAL_CLOSURE
