"""Serves in this process, and ends it without failing a request.

At SIGTERM or SIGINT the service becomes unready, closes its WebSockets and tells every client to
close its connection, but still accepts: balancers need a moment to learn. After the drain delay the
socket is closed, event streams end, requests in flight get their time, then the resources stop. A
second signal ends at once.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from service_platform.app import ServiceApp
from service_platform.logging import get_logger
from service_platform.server.connection import HttpConnection
from service_platform.server.loading import load_factory
from service_platform.server.sharing import Sharing
from service_platform.server.start_errors import report_start_error
from service_platform.server.websocket import WebSocketConnection

EXIT_FORCED: Final = 130

log = get_logger("service_platform.server")


class DrainingServer(uvicorn.Server):
    """A uvicorn server that drains before it closes its socket.

    uvicorn closes the socket at the signal, so requests that a balancer still sends are refused.

    Args:
        config: see `configure`.
        app: the application; its lifecycle is told.
        on_started: called when the server accepts.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: ServiceApp,
        on_started: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(config)
        self._app = app
        self._on_started = on_started
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def forced(self) -> bool:
        """Whether a second signal ended the process."""
        return self.force_exit

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and accept."""
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; at the second signal give up what is in flight."""
        del frame
        if self._loop is None or not self.started or self._app.lifecycle.draining:
            self.should_exit = True
            self.force_exit = self.started
            return
        self._app.lifecycle.draining = True
        self._loop.call_soon_threadsafe(self._drain, signal.Signals(sig).name)

    def _drain(self, signal_name: str) -> None:
        delay = self._app.settings.drain_delay_seconds
        log.info("draining", signal=signal_name, drain_delay_seconds=delay)
        for connection in list(self.server_state.connections):
            if isinstance(connection, WebSocketConnection):
                connection.restart()
        asyncio.get_running_loop().call_later(delay, self._close)

    def _close(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the socket, end event streams and wait for the requests in flight."""
        # Without a signal too: gunicorn replaces a worker after so many requests.
        self._app.lifecycle.draining = True
        self._app.lifecycle.end_event_streams()
        await super().shutdown(sockets)


def serve(
    path: str, sockets: Sequence[socket.socket], on_started: Callable[[], object] | None = None
) -> int:
    """Serve the application `module:function` on open sockets; returns the exit status.

    Args:
        path: of the application factory.
        sockets: open and listening.
        on_started: called when the server accepts.
    """
    app = load_factory(path)()
    # A full collection would look at all of it, for fifty milliseconds in which nobody is answered.
    gc.freeze()
    server = DrainingServer(configure(app, app), app, on_started)
    log.info("listening", addresses=[_address(opened) for opened in sockets])
    with report_start_error(app.lifecycle):
        server.run(sockets=list(sockets))
    return EXIT_FORCED if server.forced else 0


def configure(app: ServiceApp, served: ASGIApp) -> uvicorn.Config:
    """Make uvicorn's configuration, with everything off that the platform does itself.

    Args:
        app: its settings and lifecycle count.
        served: what is called for each request; `app`, or something around it.
    """
    settings = app.settings
    http = partial(HttpConnection, sharing=Sharing(settings, app.lifecycle))
    return uvicorn.Config(
        served,
        loop="uvloop",
        http=cast("Any", http),
        ws="none",  # a connection that is upgraded makes its own
        ws_max_size=settings.websocket_max_message_bytes,
        ws_ping_interval=settings.websocket_ping_seconds,
        ws_ping_timeout=settings.websocket_ping_seconds,
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_seconds,  # type: ignore[arg-type]
    )


def _address(opened: socket.socket) -> str:
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
