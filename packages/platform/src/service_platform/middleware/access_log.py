"""Writes the access log: an event a request or WebSocket, by OpenTelemetry's conventions."""

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

    def write_request(self, context: RequestContext, status: int, seconds: float) -> None:
        """Queue the event of a request."""
        quiet = context.path in QUIET_PATHS
        if not (self._debug if quiet else self._info):
            return
        event = _event("request", context, "debug" if quiet else "info")
        event["http.request.method"] = context.scope["method"]
        event["http.response.status_code"] = status
        event["http.server.request.duration"] = round(seconds, 6)
        logging.writer.put(event)

    def write_websocket(
        self,
        context: RequestContext,
        *,
        status: int,
        close_code: int | None,
        received: int,
        sent: int,
        seconds: float,
    ) -> None:
        """Queue the event of a WebSocket that has ended.

        Args:
            context: of the WebSocket.
            status: 101 where it was accepted, else the status of the refusal.
            close_code: why it ended (RFC 6455, section 7.4); `None` where it was refused.
            received: messages from the client.
            sent: messages to the client.
            seconds: from the handshake to the end.
        """
        if not self._info:
            return
        event = _event("websocket", context, "info")
        event["http.response.status_code"] = status
        event["websocket.close_code"] = close_code
        event["websocket.messages.received"] = received
        event["websocket.messages.sent"] = sent
        event["websocket.duration"] = round(seconds, 6)
        logging.writer.put(event)


def _event(name: str, context: RequestContext, level: str) -> dict[str, Any]:
    """Make what both events have. The query string is left out: callers put secrets into it."""
    event: dict[str, Any] = {
        "timestamp": time.time(),
        "level": level,
        "logger": "access",
        "event": name,
        "http.route": context.route,
        "url.path": context.path,
        "client.address": context.client_address,
        "request_id": context.request_id,
        "trace_id": context.trace_id,
        "span_id": context.span_id,
    }
    if context.principal is not None:
        event["account"] = context.principal.subject
    return event
