"""The platform's server as a worker of gunicorn.

gunicorn starts, replaces and ends the processes; each of them serves as `runner.py` does, with the
same connections, bounds and drain.
"""

import os
import signal
import sys
from types import FrameType

from gunicorn import sock
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from service_platform.app import ServiceApp
from service_platform.server.listening import prepare
from service_platform.server.runner import DrainingServer, configure
from service_platform.server.start_errors import report_start_error


class ServiceWorker(Worker):  # type: ignore[misc]
    """Serves a service in a process of gunicorn."""

    def init_signals(self) -> None:
        """Take the signals back from the arbiter; the server sets its own for TERM and INT."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.siginterrupt(signal.SIGUSR1, False)

    def run(self) -> None:
        """Serve until a signal, or until `max_requests`."""
        app = self.wsgi
        if not isinstance(app, ServiceApp):
            self.log.error("The application is not one that service_platform.app.create_app made.")
            sys.exit(Arbiter.APP_LOAD_ERROR)
        config = configure(app, app)
        config.limit_max_requests = self.max_requests
        config.callback_notify = self._notify
        config.timeout_notify = 0
        config.load()
        if self.cfg.is_ssl:
            config.ssl = sock.ssl_context(self.cfg)
        self._server = DrainingServer(config, app)
        signal.signal(signal.SIGQUIT, self._quit)
        sockets = [listener.sock for listener in self.sockets]
        for listener in sockets:
            prepare(listener)
        try:
            with report_start_error(app.lifecycle):
                self._server.run(sockets)
        except SystemExit:
            # The only status at which gunicorn gives up instead of starting the next worker.
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    async def _notify(self) -> None:
        """Tell the arbiter that this process lives, and end with it."""
        self.notify()
        if self.ppid != os.getppid():
            self._server.handle_exit(signal.SIGTERM, None)

    def _quit(self, number: int, frame: FrameType | None) -> None:
        """End at once, as gunicorn asks by SIGQUIT."""
        del number, frame
        self._server.should_exit = self._server.force_exit = True
