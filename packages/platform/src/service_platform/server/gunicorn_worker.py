"""gunicorn's native ASGI worker, draining before it closes its socket (see `runner.py`)."""

from gunicorn.workers.gasgi import ASGIWorker

from service_platform.app import ServiceApp


class DrainingWorker(ASGIWorker):  # type: ignore[misc]
    """At SIGTERM: unready, still accepting for the drain delay, then gunicorn's own ending."""

    def handle_exit_signal(self) -> None:
        """Begin to drain; a second signal ends without waiting."""
        app: ServiceApp = self.asgi
        if app.lifecycle.draining:
            self.alive = False
            return
        app.lifecycle.draining = True
        self.loop.call_later(app.settings.drain_delay_seconds, self._close)

    def _close(self) -> None:
        self.alive = False
