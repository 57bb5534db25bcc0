"""Security-relevant acts, as events of the logger `audit`: who did what to which account, whence.

They are written whatever the log level is.
"""

import time
from typing import Any

from service_platform import logging
from service_platform.context import current_context


def record(event: str, **fields: Any) -> None:
    """Write one event.

    Args:
        event: what happened, in the past: `login_failed`, `session_ended`.
        fields: ids and reasons; never a secret, never what somebody typed as address or password.
    """
    entry: dict[str, Any] = {
        "timestamp": time.time(),
        "level": "info",
        "logger": "audit",
        "event": event,
        **fields,
    }
    context = current_context()
    if context is not None:
        entry["request_id"] = context.request_id
        entry["trace_id"] = context.trace_id
        entry["client.address"] = context.client_address
    logging.writer.put(entry)
