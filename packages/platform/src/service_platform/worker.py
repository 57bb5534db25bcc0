"""The worker process of a service: runs its jobs and answers probes, but no requests.

    python -m service_platform.worker orders.app:create_app

It starts the service's application with all its resources, listens on `HOST` and `PORT` for
`/health`, its probes, `/version` and `/metrics`, and answers 404 to anything else. At SIGTERM it
begins no further job and becomes unready; running jobs get `SHUTDOWN_TIMEOUT_SECONDS` to end, those
that take longer are given back for another worker. A second signal ends at once.
"""

import argparse
import asyncio
import gc
import socket
from collections.abc import Sequence
from typing import Final

import uvicorn
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from service_platform.app import ServiceApp
from service_platform.errors import NotFound
from service_platform.ids import new_id
from service_platform.jobs.loading import NoJobsError, find_worker
from service_platform.jobs.worker import JobWorker
from service_platform.logging import get_logger
from service_platform.server.listening import ListenError, listen
from service_platform.server.loading import LoadError, load_factory
from service_platform.server.runner import EXIT_FORCED, DrainingServer, configure
from service_platform.server.start_errors import report_start_error
from service_platform.settings import PlatformSettings, load_settings

EXIT_CANNOT_START: Final = 1
SERVED: Final = ("/health", "/metrics", "/version")

log = get_logger("service_platform.worker")


class ProbesOnly:
    """Lets probes and metrics through to an application, and nothing else.

    Args:
        app: of the service.
    """

    def __init__(self, app: ServiceApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the lifespan."""
        path = scope.get("path", "")
        is_probe = path in SERVED or path.startswith("/health/")
        if scope["type"] == "lifespan" or (scope["type"] == "http" and is_probe):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = NotFound("This process runs jobs and serves no requests.").response(
                base_url=self._app.settings.problem_type_base_url, request_id=str(new_id())
            )
            await answer(scope, receive, send)
        else:
            await WebSocketClose()(scope, receive, send)


class WorkerServer(DrainingServer):
    """A server that lets running jobs end before it ends.

    Args:
        config: see `configure`.
        app: the application; its lifecycle is told.
        worker: whose jobs they are.
    """

    def __init__(self, config: uvicorn.Config, app: ServiceApp, worker: JobWorker) -> None:
        super().__init__(config, app)
        self._worker = worker
        self._draining: asyncio.Task[None] | None = None

    def _drain(self, signal_name: str) -> None:
        log.info("draining", signal=signal_name)
        self._draining = asyncio.create_task(self._finish_jobs())

    async def _finish_jobs(self) -> None:
        try:
            await self._worker.drain(self._app.settings.shutdown_timeout_seconds)
        finally:
            self._close()


def work(app: ServiceApp, worker: JobWorker, sockets: Sequence[socket.socket]) -> int:
    """Run jobs until a signal; return the exit status."""
    worker.runs_jobs = True
    gc.freeze()  # as the server does
    server = WorkerServer(configure(app, ProbesOnly(app)), app, worker)
    log.info("working", jobs=sorted(worker.jobs.by_name))
    with report_start_error(app.lifecycle):
        server.run(sockets=list(sockets))
    return EXIT_FORCED if server.forced else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs of a service until a signal; return the exit status.

    0 after a clean end, 1 when the worker cannot start, 78 when a setting is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m service_platform.worker", description=__doc__)
    parser.add_argument("app", help="application factory, such as orders.app:create_app")
    parser.add_argument("--host", help="address to listen on for probes (HOST)")
    parser.add_argument("--port", type=int, help="port to listen on for probes (PORT)")
    options = parser.parse_args(arguments)
    told = {name: getattr(options, name) for name in ("host", "port")}
    settings = load_settings(
        PlatformSettings, **{name: value for name, value in told.items() if value is not None}
    )
    try:
        app = load_factory(options.app)()
        worker = find_worker(app, options.app)
        sockets = listen(settings.host, settings.port)
    except (LoadError, ListenError, NoJobsError) as error:
        parser.exit(EXIT_CANNOT_START, f"{error}\n")
    return work(app, worker, sockets)


if __name__ == "__main__":
    raise SystemExit(main())
