"""What the front page shows, as JSON: services, logins, requests."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devtools import state
from devtools.gateway.access_log import AccessLog
from devtools.gateway.demo_logins import DemoLogins
from devtools.gateway.places import DOCS_PREFIX, access_log_path, root_certificate_path, url_of
from devtools.gateway.production_routes import Route, of_service
from devtools.services import SERVICES
from devtools.state import ServiceState, State

_NOTHING: Final[dict[str, Any]] = {
    "phase": "stopping",
    "addresses": [],
    "certificate": "",
    "tracing": False,
    "services": [],
    "logins": [],
    "requests": [],
}

HEALTH_SECONDS: Final = 1.0
"""However many pages are open, a service is not asked more often."""


@dataclass(slots=True)
class Overview:
    """Everything the page shows.

    Args:
        routes: of all services.
    """

    routes: Sequence[Route]
    _requests: AccessLog = field(init=False)
    _logins: DemoLogins = field(default_factory=DemoLogins, init=False)
    _healths: dict[str, tuple[str, str]] = field(default_factory=dict, init=False)
    _asked: float = field(default=float("-inf"), init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._requests = AccessLog(access_log_path())

    async def show(self) -> dict[str, Any]:
        """What there is now."""
        async with self._turn:
            found = state.last()
            if found is None:
                return _NOTHING
            await self._ask(found)
            return {
                "phase": found.phase,
                "addresses": _addresses(found),
                "certificate": str(root_certificate_path()) if found.https_port else "",
                "tracing": found.receiver is not None,
                "services": [self._service(each.name, found) for each in SERVICES],
                "logins": await self._logins.show(found),
                "requests": self._requests.newest_first(),
            }

    async def _ask(self, found: State) -> None:
        """Ask the services how they are."""
        if time.monotonic() - self._asked < HEALTH_SECONDS:
            return
        from devtools.status import health  # noqa: PLC0415 - brings Rich; not needed to start

        ports = [service.port for service in found.services.values()]
        healths = await asyncio.gather(*(asyncio.to_thread(health, port) for port in ports))
        self._healths = dict(zip(found.services, healths, strict=True))
        self._asked = time.monotonic()

    def _service(self, name: str, found: State) -> dict[str, Any]:
        service = found.services.get(name)
        health, detail = self._healths.get(name, ("", "")) if service else ("not started", "")
        shown: dict[str, Any] = {
            "name": name,
            "health": health,
            "detail": _detail(service, health, detail),
            "paths": of_service(self.routes, name),
        }
        if service is None:
            return shown
        return shown | {
            "url": url_of(service.port),
            "docs": f"{DOCS_PREFIX}/{name}",
            "redoc": f"{DOCS_PREFIX}/{name}/redoc",
        }


def _addresses(found: State) -> list[str]:
    plain = [url_of(found.gateway.port)] if found.gateway else []
    return [*plain, url_of(found.https_port, "https")] if found.https_port else plain


def _detail(service: ServiceState | None, health: str, detail: str) -> str:
    if service is None:
        return "left out by --only"
    if health == "no answer":
        return service.detail or service.state
    # What changes with every look would make the page restless.
    return "" if detail.startswith("answered") else detail
