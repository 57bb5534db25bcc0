"""What `./dev up` gives to the services and to the receiver so that traces can be seen."""

import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from devtools.errors import UsageError
from devtools.program import Program, python
from devtools.state import RECEIVER, State
from devtools.telemetry.store import store_path

PORT: Final = 4318
"""OTLP/HTTP's usual one, where other programs look; a free one is taken where it is taken."""

READY_PATH: Final = "/health/ready"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_STRONGER: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_DEFAULTS: Final = {
    "OTEL_TRACES_SAMPLER": "parentbased_always_on",
    # A trace can be read half a second after its request; the SDK's own delay is five seconds.
    "OTEL_BSP_SCHEDULE_DELAY": "500",
}


def checked_url(url: str | None) -> str:
    """Return the URL that `--otlp` names; empty where the option is not given.

    Raises:
        UsageError: it is not absolute, or neither http nor https.
    """
    if url is None:
        return ""
    if not _is_base_url(url):
        raise UsageError(
            "--otlp needs an absolute http or https URL, such as http://127.0.0.1:4318."
        )
    return url


def _is_base_url(url: str) -> bool:
    """Whether paths can be added to it."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known and not parts.query and not parts.fragment and not re.search(r"\s", url)


def receiver_url(port: int) -> str:
    """Where services send to."""
    return f"http://127.0.0.1:{port}"


def exporting(environment: Mapping[str, str], state: State) -> dict[str, str]:
    """Add to a service's environment what makes it export spans, where the system keeps some.

    Args:
        environment: of the service; what it says of sampler and delay stays.
        state: of the system.
    """
    if not state.otlp_endpoint:
        return dict(environment)
    kept = {name: value for name, value in environment.items() if name != _STRONGER}
    return {**_DEFAULTS, **kept, ENDPOINT: state.otlp_endpoint}


def receiver_program(port: int, forward_to: str) -> Program:
    """The program that receives spans.

    Args:
        port: on which it listens.
        forward_to: URL of another receiver, empty for none.
    """
    module = "devtools.telemetry.receiver"
    forwarding = ("--forward-to", forward_to) if forward_to else ()
    return Program(
        name=RECEIVER,
        command=python(
            "-m", module, "--port", str(port), "--store", str(store_path()), *forwarding
        ),
        environment={**os.environ, "PYTHONUNBUFFERED": "1"},
        port=port,
        ready_path=READY_PATH,
    )
