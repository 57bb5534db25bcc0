"""Reports the health of a service, for people (`/health`) and probes (`/health/live` …).

Liveness checks no dependency: restarting a process does not mend a database. A process is ready
once every critical resource has been healthy, and from then on until it drains: a database that is
away is away for all replicas, and one that is taken out of service can only refuse connections
where it would answer 503 with Retry-After. `/health` tells what is wrong at this moment; a resource
that is not critical makes the service *degraded*, never unready.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service_platform.resources import HealthCheckError, Lifecycle, Resource
from service_platform.settings import PlatformSettings

CACHE_SECONDS: Final = 1.0
"""Probes of many kubelets and balancers share one round of checks."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one resource's check.

    Attributes:
        name: the resource.
        critical: whether a failure makes the service unhealthy.
        reason: what is wrong, or `None` when all is well.
        milliseconds: how long the check took.
    """

    name: str
    critical: bool
    reason: str | None
    milliseconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the entry under `checks` in `/health`."""
        entry: dict[str, Any] = {
            "status": "healthy" if self.reason is None else "unhealthy",
            "response_time_ms": round(self.milliseconds, 2),
        }
        return entry if self.reason is None else {**entry, "reason": self.reason}


class HealthChecks:
    """Runs the checks of all resources at once; a round is shared and kept for a second.

    Args:
        resources: what to check.
        timeout_seconds: budget of each check.

    Attributes:
        proven: names of the resources that have been healthy in this process.
    """

    def __init__(self, resources: Sequence[Resource], timeout_seconds: float) -> None:
        self._resources = resources
        self._timeout = timeout_seconds
        self._round: asyncio.Task[tuple[CheckResult, ...]] | None = None
        self._fresh_until = 0.0
        self.proven: set[str] = set()

    async def results(self) -> tuple[CheckResult, ...]:
        """Return results that are at most a second old."""
        if self._round is None or (self._round.done() and time.monotonic() >= self._fresh_until):
            self._round = asyncio.create_task(self._check_all())
        # A caller that leaves must not cancel the round for the others.
        return await asyncio.shield(self._round)

    async def _check_all(self) -> tuple[CheckResult, ...]:
        results = await asyncio.gather(*(self._check(resource) for resource in self._resources))
        self._fresh_until = time.monotonic() + CACHE_SECONDS
        self.proven.update(result.name for result in results if result.reason is None)
        return tuple(results)

    async def _check(self, resource: Resource) -> CheckResult:
        started = time.perf_counter()
        reason: str | None = None
        try:
            async with asyncio.timeout(self._timeout):
                await resource.check()
        except HealthCheckError as error:
            reason = error.reason
        except TimeoutError:
            reason = f"{resource.name}_timeout"
        except Exception:  # noqa: BLE001 - any failure is an answer; its text may hold secrets
            reason = f"{resource.name}_unavailable"
        milliseconds = (time.perf_counter() - started) * 1000
        return CheckResult(resource.name, resource.critical, reason, milliseconds)


def health_routes(settings: PlatformSettings, lifecycle: Lifecycle) -> list[Route]:
    """Return the routes of `/health`, its probes and `/version`."""
    checks = HealthChecks(lifecycle.resources, settings.health_check_timeout_seconds)

    async def health(_: Request) -> Response:
        results = await checks.results()
        failed = [result for result in results if result.reason is not None]
        unhealthy = any(result.critical for result in failed)
        status = "unhealthy" if unhealthy else "degraded" if failed else "healthy"
        content = {
            "status": status,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "version": settings.version,
            "environment": settings.environment.value,
            "checks": {result.name: result.as_json() for result in results},
        }
        return _json(content, 503 if unhealthy else 200)

    async def live(_: Request) -> Response:
        return _json({"status": "alive"})

    async def ready(_: Request) -> Response:
        if lifecycle.draining:
            return _not_ready("draining")
        if not lifecycle.started:
            return _not_ready("starting")
        for result in await checks.results():
            if result.critical and result.reason is not None and result.name not in checks.proven:
                return _not_ready(result.reason)
        return _json({"status": "ready"})

    async def startup(_: Request) -> Response:
        return _json({"status": "started"}) if lifecycle.started else _not_ready("starting")

    async def version(_: Request) -> Response:
        return _json({"name": settings.project_name, "version": settings.version})

    endpoints = {
        "/health": health,
        "/health/live": live,
        "/health/ready": ready,
        "/health/startup": startup,
        "/version": version,
    }
    return [
        Route(path, endpoint, methods=["GET"], include_in_schema=False)
        for path, endpoint in endpoints.items()
    ]


def _not_ready(reason: str) -> Response:
    return _json({"status": "not_ready", "reason": reason}, 503)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(
        orjson.dumps(content),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
