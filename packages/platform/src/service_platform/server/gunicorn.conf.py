"""gunicorn for a service, for those who run it; limits and times come from the settings.

gunicorn -c "$(python -m service_platform.server --gunicorn-conf)" 'users.app:create_app()'
"""

import gc
import os
import shutil
import tempfile
from typing import Any

from service_platform.settings import PlatformSettings, load_settings

_settings = load_settings(PlatformSettings)
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host

bind = f"{_host}:{_settings.port}"
backlog = 2048
workers = _settings.workers
worker_class = "service_platform.server.gunicorn_worker.ServiceWorker"

# A worker that does not answer its arbiter is replaced; slow handlers have a limit of their own.
graceful_timeout = int(_settings.drain_delay_seconds + _settings.shutdown_timeout_seconds + 5)
timeout = max(60, graceful_timeout)

# Workers are replaced now and then, not all at once, so that a slow leak never matters.
max_requests = 100_000
max_requests_jitter = 10_000

# The platform writes the access log and resolves forwarded addresses itself.
accesslog = None
errorlog = "-"
loglevel = "warning"
forwarded_allow_ips = ""

# `/metrics` of any worker answers for all of them. The library looks for this when it is imported.
_metrics_directory = None
if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    _metrics_directory = tempfile.mkdtemp(prefix="metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_directory


def post_worker_init(_: Any) -> None:
    """What is loaded stays; collections need not look at it (see `runner.py`)."""
    gc.freeze()


def child_exit(_: Any, worker: Any) -> None:
    """Take the gauges of a worker that ended out of the metrics."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see above

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_: Any) -> None:
    """Remove the directory of the metrics."""
    if _metrics_directory is not None:
        shutil.rmtree(_metrics_directory, ignore_errors=True)
