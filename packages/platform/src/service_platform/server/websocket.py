"""A WebSocket: uvicorn's connection (on the `websockets` library) with bounds and a drain."""

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.protocol import OPEN

from service_platform.errors import (
    BadRequest,
    HeadersTooLarge,
    InternalError,
    Problem,
    ServiceUnavailable,
)
from service_platform.logging import get_logger
from service_platform.server.capacity import closed_connections
from service_platform.server.head import HeaderPairs
from service_platform.server.writing import WriteWatch

if TYPE_CHECKING:
    from service_platform.server.sharing import Sharing

log = get_logger("service_platform.server")


MAX_LINE_BYTES: Final = 8_000
MAX_HEADERS: Final = 120
"""Somewhat less than what the `websockets` library accepts of a handshake."""

_is_key: Final = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch


def check_handshake(headers: HeaderPairs) -> None:
    """Refuse a handshake that is not one (RFC 6455, section 4.2.1).

    Raises:
        Problem: 400 for another version (`Sec-WebSocket-Version` tells the right one) or a wrong
            key, 431 for header fields that are too large for the library.
    """
    values = dict(headers)
    if len(headers) > MAX_HEADERS or any(
        len(name) + len(value) > MAX_LINE_BYTES for name, value in headers
    ):
        raise HeadersTooLarge
    if values.get(b"sec-websocket-version") != b"13":
        raise BadRequest(
            "The only version of WebSocket is 13.", headers={"sec-websocket-version": "13"}
        )
    if not _is_key(values.get(b"sec-websocket-key", b"")):
        raise BadRequest("The Sec-WebSocket-Key header is not valid.")


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A connection that was upgraded.

    Args:
        config: of uvicorn; message size and ping times are in it.
        server_state: of uvicorn.
        app_state: state of the lifespan.
        sharing: limits and what all connections share.
        client: address and port of the client.
        started: `time.perf_counter()` at the first byte of the handshake.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        sharing: "Sharing",
        client: tuple[str, int] | None,
        started: float,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.close_timeout = sharing.limits.websocket_close
        self._sharing = sharing
        self._known_client = client
        self._started = started
        self._closed_by_app = False
        self._restarting = False
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._watch: WriteWatch | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the time for the handshake."""
        super().connection_made(transport)
        self.client = self._known_client
        sharing = self._sharing
        self._watch = WriteWatch(self, self.transport, sharing.limits, sharing.unread, self.loop)
        self._handshake_timer = self.loop.call_later(
            sharing.limits.websocket_handshake, self._give_up_handshake
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up: the connection is gone."""
        self._forget_handshake()
        if self._watch is not None:
            self._watch.stop()
        self._sharing.connections.leave()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Stop sending, and stop reading: an answer to each ping would fill the memory."""
        super().pause_writing()
        self._hold_reading()
        if self._watch is not None:
            self._watch.start()

    def resume_writing(self) -> None:
        """Go on after the client has read."""
        super().resume_writing()
        if self._watch is not None:
            self._watch.finish()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()

    def _hold_reading(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def shutdown(self) -> None:
        """Close at the end of a drain, as uvicorn asks."""
        if self.close_sent:
            self._close_transport()
        else:
            self.restart()

    def restart(self) -> None:
        """Close with code 1012 (service restart): the process drains."""
        self._restarting = True
        if self._is_open():  # a handshake under way is closed when it is accepted
            self._close(CloseCode.SERVICE_RESTART)

    def _is_open(self) -> bool:
        return self.conn.state is OPEN and not self.close_sent

    def abort(self, reason: str) -> None:
        """Give the connection up."""
        closed_connections.labels(reason).inc()
        self.transport.abort()

    async def run_asgi(self) -> None:
        """Run the application; what it raises was logged by it."""
        failed = False
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:  # noqa: BLE001 - nobody waits for this task
            failed = True
        if self.disconnected:
            return
        if not self.handshake_complete and self.initial_response is None:
            if not failed:
                log.error("websocket_without_answer", path=self.scope["path"])
            self._refuse(InternalError())
        elif self._is_open():
            self._close(CloseCode.INTERNAL_ERROR if failed else CloseCode.NORMAL_CLOSURE)
        elif self.close_timer is None:
            self._close_transport()

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message, accept or close.

        Raises:
            ClientDisconnected: the connection is closed, or about to be.
        """
        if self.close_sent and not self._closed_by_app:
            raise ClientDisconnected
        if message["type"] == "websocket.close":
            self._closed_by_app = True
        await super().send(message)
        if self.handshake_complete or self.close_sent:
            self._forget_handshake()
            if self._restarting:
                self.restart()

    def _close(self, code: CloseCode) -> None:
        """Send a close frame and wait for the client's, for a while (RFC 6455, section 7.1.2)."""
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": ""})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self._close_transport)

    def _close_transport(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def _give_up_handshake(self) -> None:
        self._handshake_timer = None
        if not self.handshake_complete and not self.transport.is_closing():
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
            self._refuse(ServiceUnavailable())

    def _refuse(self, problem: Problem) -> None:
        """Answer the handshake with a problem."""
        self._forget_handshake()
        self.handshake_complete = self.close_sent = True
        scope = {**self.scope, "type": "http", "scheme": "http", "method": "GET"}
        self.transport.write(
            self._sharing.refusals.of_request(problem, scope, self._started, self.default_headers)
        )
        self._close_transport()

    def _forget_handshake(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None
