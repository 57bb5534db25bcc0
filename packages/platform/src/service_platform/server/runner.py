"""Serves in this process, and ends it without failing a request.

At SIGTERM or SIGINT the service becomes unready and tells every client to close its connection,
but still accepts: balancers need a moment to learn. After the drain delay the socket is closed,
requests in flight get their time, then the resources stop. A second signal ends at once.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Sequence
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from service_platform.app import ServiceApp
from service_platform.logging import get_logger
from service_platform.server.loading import load_factory
from service_platform.server.protocol import BoundedHttpProtocol
from service_platform.server.start_errors import report_start_error

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s that common proxies keep an idle connection, so they close it, not we."""

EXIT_FORCED = 130

log = get_logger("service_platform.server")


class DrainingServer(uvicorn.Server):
    """A uvicorn server that drains before it closes its socket.

    uvicorn closes the socket at the signal, so requests that a balancer still sends are refused.
    """

    def __init__(self, config: uvicorn.Config, app: ServiceApp) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def forced(self) -> bool:
        """Whether a second signal ended the process."""
        return self.force_exit

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

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
        asyncio.get_running_loop().call_later(delay, self._close)

    def _close(self) -> None:
        self.should_exit = True


def serve(path: str, sockets: Sequence[socket.socket]) -> int:
    """Serve the application `module:function` on open sockets; returns the exit status."""
    app = load_factory(path)()
    # A full collection would look at all of it, for fifty milliseconds in which nobody is answered.
    gc.freeze()
    server = DrainingServer(configure(app, app), app)
    log.info("listening", addresses=[_address(opened) for opened in sockets])
    with report_start_error(app.lifecycle):
        server.run(sockets=list(sockets))
    return EXIT_FORCED if server.forced else 0


def configure(app: ServiceApp, served: ASGIApp) -> uvicorn.Config:
    """uvicorn, with everything off that the platform does itself."""
    return uvicorn.Config(
        served,
        loop="uvloop",
        http=BoundedHttpProtocol.of(app.settings),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=app.settings.shutdown_timeout_seconds,  # type: ignore[arg-type]
    )


def _address(opened: socket.socket) -> str:
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
