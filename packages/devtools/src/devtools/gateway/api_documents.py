"""The OpenAPI document of a service as it is behind the gateway."""

import asyncio
import json
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from devtools.state import State

SECONDS: Final = 10.0
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_URLS: Final = ("authorizationUrl", "tokenUrl", "refreshUrl")


class NoDocumentError(Exception):
    """The service does not answer with a document; its status is the only argument."""


async def document_of(state: State, service: str, path: str, origin: str) -> dict[str, Any]:
    """The document of a service, which says that logins go to the gateway.

    Calls go there anyhow: without `servers` the paths are those of the host that the page is from.

    Args:
        state: of the system.
        service: whose document.
        path: of the document, in the service.
        origin: of the gateway, as the browser names it.

    Raises:
        NoDocumentError: the service does not have one, or does not answer.
    """
    document = await asyncio.to_thread(_get, state.services[service].port, path)
    auth = state.services.get("auth")
    return with_logins_at(origin, document, auth.port if auth else 0)


def with_logins_at(origin: str, document: dict[str, Any], auth_port: int) -> dict[str, Any]:
    """Let logins that go to auth on this machine go to the gateway; others stay."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    for scheme in schemes.values():
        for flow in scheme.get("flows", {}).values():
            for name in _URLS:
                if name in flow and _is_of(flow[name], auth_port):
                    flow[name] = urlsplit(flow[name])._replace(scheme="", netloc="").geturl()
                    flow[name] = f"{origin}{flow[name]}"
    return document


def _is_of(url: str, port: int) -> bool:
    parts = urlsplit(url)
    return parts.hostname in LOCAL and parts.port == port


def _get(port: int, path: str) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise NoDocumentError(answer.status)
        document: dict[str, Any] = json.loads(body)
    except (OSError, HTTPException, ValueError):
        raise NoDocumentError(503) from None
    finally:
        connection.close()
    return document
