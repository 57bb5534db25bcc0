"""One event a request, under the names of OpenTelemetry's semantic conventions for HTTP."""

import logging as standard_logging
import time
from typing import Any, Final

from service_platform import logging
from service_platform.context import RequestContext
from service_platform.settings import PlatformSettings

QUIET_PATHS: Final = frozenset(
    {"/health", "/health/live", "/health/ready", "/health/startup", "/metrics"}
)
"""Probes and scrapes, several a second for ever: logged at debug level only."""


class AccessLog:
    """Writes the access event of finished requests, at `info` (probes at `debug`)."""

    def __init__(self, settings: PlatformSettings) -> None:
        level = standard_logging.getLevelNamesMapping()[settings.log_level]
        self._debug = settings.debug or level <= standard_logging.DEBUG
        self._info = self._debug or level <= standard_logging.INFO

    def write(self, context: RequestContext, status: int, seconds: float) -> None:
        """Queue the event. The query string is left out: callers put secrets into it."""
        scope = context.scope
        path = scope["path"]
        quiet = path in QUIET_PATHS
        if not (self._debug if quiet else self._info):
            return
        event: dict[str, Any] = {
            "timestamp": time.time(),
            "level": "debug" if quiet else "info",
            "logger": "access",
            "event": "request",
            "http.request.method": scope["method"],
            "http.route": context.route,
            "url.path": path,
            "http.response.status_code": status,
            "http.server.request.duration": round(seconds, 6),
            "client.address": context.client_address,
            "request_id": context.request_id,
            "trace_id": context.trace_id,
        }
        if context.principal is not None:
            event["account"] = context.principal.subject
        logging.writer.put(event)
