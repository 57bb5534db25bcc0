"""gunicorn for a service, for those who run it; limits and times come from the settings.

gunicorn -c "$(python -m service_platform.server --gunicorn-conf)" 'items.app:create_app()'
"""

import gc
from typing import Any

from service_platform.settings import PlatformSettings, load_settings

_settings = load_settings(PlatformSettings)

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "service_platform.server.gunicorn_worker.DrainingWorker"
worker_connections = 1000
asgi_lifespan = "on"

# What a client may send before there is a request.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190

# A worker that does not answer its arbiter is replaced; slow handlers have a limit of their own.
timeout = 60
graceful_timeout = int(_settings.drain_delay_seconds + _settings.shutdown_timeout_seconds + 5)
keepalive = 75

# Workers are replaced now and then, not all at once, so that a slow leak never matters.
max_requests = 100_000
max_requests_jitter = 10_000


def post_worker_init(_: Any) -> None:
    """What is loaded stays; collections need not look at it (see `runner.py`)."""
    gc.freeze()


# The platform writes the access log and resolves forwarded addresses itself.
accesslog = None
errorlog = "-"
loglevel = "warning"
forwarded_allow_ips = ""
