"""One HTTP/1.1 connection: a state, a bound on bytes and a timer for everything it waits for.

Requests on a connection are answered one after the other. The head of the next one is parsed when
the answer to the one before has been sent, so pipelined requests wait as bytes and no answer
overtakes another. The bounds are in `states.py`, the table of states in `docs/http.md`.

The module is longer than others because the states and all changes between them are one subject:
divided, nobody could see in one place what follows a state. What needs no state has modules of its
own (`bounded.py`, `head.py`, `content.py`).
"""

import asyncio
import time
from typing import Final, cast

from uvicorn._types import HTTPScope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service_platform.errors import (
    BadRequest,
    HeadersTooLarge,
    InternalError,
    Problem,
    RequestTimeout,
    ServiceUnavailable,
    UriTooLong,
)
from service_platform.logging import get_logger
from service_platform.server.bounded import NO_CONTENT, BoundedConnection
from service_platform.server.capacity import closed_connections
from service_platform.server.content import ChunkedContent, FixedContent
from service_platform.server.head import NO_HTTP, RequestHead, is_token_start
from service_platform.server.states import State
from service_platform.server.websocket import (
    MAX_LINE_BYTES,
    WebSocketConnection,
    check_handshake,
)

log = get_logger("service_platform.server")

_READING_CONTENT: Final = frozenset({State.BODY, State.CHUNK_HEADER, State.TRAILERS})


class HttpConnection(BoundedConnection):
    """Reads requests, runs the application for each and keeps the bounds of every state.

    It is what uvicorn's server calls for each connection, and it answers through uvicorn's cycle
    of request and response.
    """

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._received += len(data)
        if self.state is State.DRAINING:
            if self._received > self.limits.discarded_bytes:
                self._watch.close()
            return
        if (
            self.state is State.IDLE
            and not self._buffer
            and data.find(b"\r\n\r\n") == len(data) - 4 >= 0
            and len(data) <= self.limits.request_line_bytes
            and not data.startswith(b"\r\n")
        ):
            # One complete request without content, as most are; it need not be copied.
            self._started = time.perf_counter()
            self._read_request(data)
            return
        self._buffer += data
        self._advance()

    def eof_received(self) -> None:
        """Close: the client sends no more, which for an API means that it has left."""

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        if self.state is State.WRITING:
            self._next_request()

    # Reading.

    def _advance(self) -> None:
        """Go through the states for as long as there are bytes for them."""
        while self._buffer:
            if self.state is State.IDLE:
                if not self._begin_head():
                    return
            elif self.state is State.HEAD:
                if not self._read_head():
                    return
            elif self.state in _READING_CONTENT:
                if not self._read_content():
                    return
            else:
                if len(self._buffer) > self.limits.pipelined_bytes:
                    self.flow.hold()
                return

    def _begin_head(self) -> bool:
        """Skip empty lines before a request (RFC 9112, section 2.2); returns whether one begins.

        They do not extend the time of an idle connection.
        """
        buffer = self._buffer
        while buffer[:2] == b"\r\n":
            del buffer[:2]
        if not buffer or buffer == b"\r":
            return False
        self.state = State.HEAD
        self._scanned = 0
        self._started = time.perf_counter()
        return True

    def _read_head(self) -> bool:
        """Begin the request whose head is complete; returns whether one is."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0 or end > self.limits.head_bytes:
            self._check_partial_head(complete=end >= 0)
            return False
        if buffer.find(b"\r\n", 0, end + 2) > self.limits.request_line_bytes:
            self._refuse(UriTooLong())
            return False
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return self._read_request(head)

    def _read_request(self, head: bytes) -> bool:
        """Begin the request of a complete head; returns whether reading goes on."""
        try:
            request = self._parser.parse(head)
        except Problem as problem:
            self._refuse(problem, head=head)
            return False
        self._timer.clear()
        if request.websocket:
            return self._upgrade(request, head)
        self._begin_request(request)
        return True

    def _check_partial_head(self, *, complete: bool) -> None:
        """Refuse a head that can only become too large or malformed; else wait for the rest."""
        buffer = self._buffer
        line_end = buffer.find(b"\r\n")
        line = line_end if line_end >= 0 else len(buffer)
        after_return = bool(self._scanned) and buffer[self._scanned - 1 : self._scanned] == b"\r"
        added = buffer[self._scanned - after_return :]
        if not is_token_start(buffer[0]):
            self._refuse(BadRequest(NO_HTTP))
        elif line > self.limits.request_line_bytes:
            self._refuse(UriTooLong())
        elif complete or len(buffer) > self.limits.head_bytes:
            self._refuse(HeadersTooLarge())
        elif added.count(b"\n") != added.count(b"\r\n"):
            self._refuse(BadRequest(NO_HTTP))
        else:
            if not self._scanned:
                self._timer.set(self.limits.head)
            self._scanned = len(buffer)

    def _read_content(self) -> bool:
        """Pass content on to the application; returns whether it is complete."""
        cycle = cast("RequestResponseCycle", self.cycle)
        try:
            part = self._content.take(self._buffer)
        except Problem as problem:
            self._refuse_request(problem)
            return False
        complete = self._content.complete
        self.state = State.WAITING if complete else self._content.state
        if cycle.response_complete:
            # Nobody wants it any more, but the next request begins behind it.
            self._discarded += len(part)
            if complete:
                self._wait_for_reader()
            elif self._discarded > self.limits.discarded_bytes:
                self._finish()
            return False
        cycle.body += part
        if complete:
            self._timer.clear()
            cycle.more_body = False
        elif len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        if part or complete:
            cycle.message_event.set()
        return complete

    # Answering.

    def _begin_request(self, request: RequestHead) -> None:
        """Start the application."""
        scope: HTTPScope = {
            "type": "http",
            "asgi": {"version": self.config.asgi_version, "spec_version": "2.3"},
            "http_version": request.version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": request.method,
            # A prefix that a proxy takes off is the application's: ROOT_PATH.
            "root_path": "",
            "path": request.path,
            "raw_path": request.raw_path,
            "query_string": request.query,
            "headers": request.headers,
            "state": self.app_state.copy(),
        }
        cycle = self.cycle = self.sharing.cycles[request.version](
            scope=scope,
            transport=self._response_transport,
            flow=self.flow,
            logger=log,
            access_logger=log,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=request.expects_continue,
            keep_alive=request.keep_alive,
            on_response=self._response_complete,
        )
        length = request.content_length
        if length == 0:
            self.state = State.WAITING
            self._content = NO_CONTENT
            cycle.more_body = False
            cycle.message_event.set()
        else:
            self._content = ChunkedContent(self.limits) if length is None else FixedContent(length)
            self.state = self._content.state
            self._discarded = 0
            self._expect_content()
        task = self.loop.create_task(self._answer(cycle))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    async def _answer(self, cycle: RequestResponseCycle) -> None:
        """Run the application; what it raises was logged by it (`unhandled_error`)."""
        failed = False
        try:
            await self.app(cycle.scope, cycle.receive, cycle.send)
        except BaseException:  # noqa: BLE001 - nobody waits for this task
            failed = True
        if cycle.response_complete or cycle.disconnected:
            return
        if not failed:
            log.error("incomplete_response", path=cycle.scope["path"])
        self._refuse_request(InternalError(), record=False)

    def _response_complete(self) -> None:
        """Go on with the next request, once this one and its answer are through."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.state is State.DRAINING:
            return
        if self._content.complete:
            self._wait_for_reader()
        else:
            self._expect_content()
            self.flow.release()

    def _wait_for_reader(self) -> None:
        """Go on once the client has read the answer; until then nothing more is made for it."""
        if self.flow.write_paused:
            self.state = State.WRITING
            self._timer.clear()
        else:
            self._next_request()

    def _next_request(self) -> None:
        self.state = State.IDLE
        self._timer.set(self.limits.keep_alive)
        if self.flow.read_paused and len(self._buffer) <= self.limits.pipelined_bytes:
            self.flow.release()
        if self._buffer:
            self._advance()

    def _upgrade(self, request: RequestHead, head: bytes) -> bool:
        """Hand the connection over to a WebSocket."""
        try:
            if self.sharing.lifecycle.draining:
                raise ServiceUnavailable
            if len(request.raw_path) + len(request.query) > MAX_LINE_BYTES:
                raise UriTooLong
            check_handshake(request.headers)
        except Problem as problem:
            self._refuse(problem, head=head)
            return False
        self.state = State.UPGRADED
        self._known.discard(self)
        query = b"?" + request.query if request.query else b""
        lines = [b"GET %b%b HTTP/1.1\r\n" % (request.raw_path, query)]
        lines += [b"%b: %b\r\n" % pair for pair in request.headers]
        lines += [b"\r\n", bytes(self._buffer)]
        self._buffer = bytearray()
        websocket = WebSocketConnection(
            self.config,
            self.server_state,
            self.app_state,
            sharing=self.sharing,
            client=self.client,
            started=self._started,
        )
        self.transport.set_protocol(websocket)
        websocket.connection_made(self.transport)
        websocket.data_received(b"".join(lines))
        return False

    # Time.

    def _expect_content(self) -> None:
        self._received = 0
        self._timer.set(self.limits.progress)

    def _reading_resumed(self) -> None:
        """Begin the time for content anew: until now the application did not want any."""
        if self.state in _READING_CONTENT:
            self._expect_content()

    def _timed_out(self) -> None:
        if self.state is State.HEAD:
            self._refuse(RequestTimeout())
        elif self.state not in _READING_CONTENT:
            self._watch.close()
        elif self.flow.read_paused or self._received >= self.limits.progress_bytes:
            self._expect_content()
        else:
            closed_connections.labels("body_timeout").inc()
            self._refuse_request(RequestTimeout("The content of the request arrives too slowly."))
