"""What every HTTP connection has: its place among the others, timers, refusals and its end."""

import asyncio
import time
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, is_ssl
from uvicorn.server import ServerState

from service_platform.errors import Problem, ServiceUnavailable
from service_platform.server.capacity import closed_connections
from service_platform.server.content import Content, FixedContent
from service_platform.server.flow import Flow, ResponseTransport
from service_platform.server.head import HeadParser
from service_platform.server.listening import client_address
from service_platform.server.sharing import Sharing
from service_platform.server.states import State
from service_platform.server.timer import DeadlineTimer
from service_platform.server.writing import WriteWatch

NO_CONTENT = FixedContent(0)


class BoundedConnection(asyncio.Protocol):
    """A connection that can refuse, close in order, and give up.

    Args:
        config: of uvicorn.
        server_state: of uvicorn.
        app_state: state of the lifespan, copied into every scope.
        sharing: limits and what all connections share.

    Attributes:
        state: what the connection waits for.
        cycle: request and response of the latest request.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        sharing: Sharing,
    ) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.loop = _loop or asyncio.get_running_loop()
        self.server_state = server_state
        self.app_state = app_state
        self.sharing = sharing
        self.limits = sharing.limits
        self.state = State.IDLE
        self.cycle: RequestResponseCycle | None = None
        self._buffer = bytearray()
        self._scanned = 0
        self._parser = HeadParser()
        self._content: Content = NO_CONTENT
        self._started = 0.0
        self._received = 0
        self._discarded = 0
        self._timer = DeadlineTimer(self.loop, self._timed_out)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the client has `head` seconds for its first request."""
        self.transport = cast("asyncio.Transport", transport)
        self.client = client_address(self.transport)
        self.server = get_local_addr(self.transport)
        self.scheme = "https" if is_ssl(self.transport) else "http"
        self.flow = Flow(self.transport, self._reading_resumed)
        self._response_transport = ResponseTransport(self.transport, self._finish)
        self._watch = WriteWatch(self, self.transport, self.limits, self.sharing.unread, self.loop)
        # uvicorn names its own classes; it asks for no more than `shutdown`.
        self._known = cast("set[Any]", self.server_state.connections)
        self._known.add(self)
        self._started = time.perf_counter()
        self._timer.set(self.limits.head)
        if not self.sharing.connections.enter():
            self._turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up: the connection is gone."""
        del exc
        self._known.discard(self)
        self.sharing.connections.leave()
        self._timer.stop()
        self._watch.stop()
        self._buffer = bytearray()
        self._disconnect_cycle()
        self.flow.resume_writing()

    def pause_writing(self) -> None:
        """Wait for the client to read: the write buffer is full."""
        self.flow.pause_writing()
        self._watch.start()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self.flow.resume_writing()
        self._watch.finish()

    def shutdown(self) -> None:
        """Close after the answer under way, as uvicorn asks at the end of a drain."""
        if self.cycle is None or self.cycle.response_complete:
            self._finish()
        else:
            self.cycle.keep_alive = False

    def abort(self, reason: str) -> None:
        """Give the connection up."""
        closed_connections.labels(reason).inc()
        self.transport.abort()

    # Refusing and closing.

    def _refuse(self, problem: Problem, head: bytes | None = None) -> None:
        """Answer what never became a request, and close."""
        answer = self.sharing.refusals.of_head(
            problem,
            bytes(self._buffer) if head is None else head,
            self.client,
            self._started,
            self.server_state.default_headers,
        )
        self.transport.write(answer)
        self._finish(more_may_come=True)

    def _refuse_request(self, problem: Problem, *, record: bool = True) -> None:
        """Answer a request instead of the application, and close.

        Where the answer has begun its end will be missing, which tells the client as much.
        """
        cycle = cast("RequestResponseCycle", self.cycle)
        self._disconnect_cycle()
        if not cycle.response_started:
            answer = self.sharing.refusals.of_request(
                problem,
                cast("Scope", cycle.scope),
                self._started,
                self.server_state.default_headers,
                record=record,
            )
            self.transport.write(answer)
        self._finish(more_may_come=not self._content.complete)

    def _turn_away(self) -> None:
        """Answer that there are too many connections, as long as there are descriptors for it."""
        connections = self.sharing.connections
        connections.warn(self.loop.time())
        if connections.exhausted:
            self.transport.abort()
            return
        problem = ServiceUnavailable("The service has too many connections. Try again later.")
        answer = self.sharing.refusals.of_head(
            problem,
            b"",
            self.client,
            self._started,
            self.server_state.default_headers,
            record=False,
        )
        self.transport.write(answer)
        self._finish(more_may_come=True)

    def _finish(self, *, more_may_come: bool = False) -> None:
        """Close once everything is sent.

        A connection closed while data arrives is reset, and the client would lose the answer. So
        this side is closed first and what still comes is thrown away (RFC 9112, section 9.6).
        """
        if self.state is State.DRAINING or self.transport.is_closing():
            return
        more_may_come = more_may_come or bool(self._buffer) or not self._content.complete
        self._buffer = bytearray()
        self._response_transport.closed = True
        self.state = State.DRAINING
        self.flow.release()
        if more_may_come and self.transport.can_write_eof():
            self._received = 0
            self._timer.set(self.limits.linger)
            self.transport.write_eof()
        else:
            self._timer.clear()
            self._watch.close()

    def _disconnect_cycle(self) -> None:
        """Tell the application that its client has left."""
        if self.cycle is not None:
            if not self.cycle.response_complete:
                self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _reading_resumed(self) -> None:
        """Take note that reading goes on after a pause."""
        raise NotImplementedError

    def _timed_out(self) -> None:
        """Act at the end of a state's time."""
        raise NotImplementedError
