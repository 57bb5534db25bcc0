"""Health: what people and orchestrators are told, and what it costs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from service_platform import health
from service_platform.app import create_app
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings


class Dependency:
    """A resource whose health the test decides."""

    def __init__(self, name: str, *, critical: bool, fail: Callable[[], Any] | None = None) -> None:
        self.name = name
        self.critical = critical
        self.fail = fail
        self.checks = 0

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def check(self) -> None:
        self.checks += 1
        await asyncio.sleep(0.01)
        if self.fail is not None:
            result = self.fail()
            if asyncio.iscoroutine(result):
                await result


def unavailable() -> None:
    raise HealthCheckError("database_unavailable")


def explode() -> None:
    raise ConnectionError("postgresql://root:hunter2@db")


@asynccontextmanager
async def service(*dependencies: Dependency) -> AsyncIterator[httpx2.AsyncClient]:
    settings = PlatformSettings(
        environment="test",
        version="1.2.3",
        rate_limit_enabled=False,
        health_check_timeout_seconds=0.2,
    )
    app = create_app(settings, routers=[], resources=dependencies)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client,
    ):
        client.app = app  # type: ignore[attr-defined]
        yield client


async def test_all_is_well() -> None:
    async with service(Dependency("database", critical=True)) as client:
        response = await client.get("/health")
        report = response.json()
        assert response.status_code == 200
        assert report["status"] == "healthy"
        assert report["version"] == "1.2.3"
        assert report["environment"] == "test"
        assert report["timestamp"]
        assert report["checks"]["database"]["status"] == "healthy"
        assert report["checks"]["database"]["response_time_ms"] > 0
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
        assert (await client.get("/health/live")).json() == {"status": "alive"}
        assert (await client.get("/health/startup")).status_code == 200
        assert (await client.get("/version")).json()["version"] == "1.2.3"


async def test_until_a_critical_resource_works_the_service_is_unready_but_alive() -> None:
    async with service(Dependency("database", critical=True, fail=unavailable)) as client:
        assert (await client.get("/health")).status_code == 503
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (
            503,
            {"status": "not_ready", "reason": "database_unavailable"},
        )
        assert (await client.get("/health/live")).status_code == 200


async def test_a_critical_resource_that_fails_later_leaves_the_service_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = Dependency("database", critical=True)
    other = Dependency("other", critical=True, fail=unavailable)
    monkeypatch.setattr(health, "CACHE_SECONDS", 0.0)
    async with service(database, other) as client:
        assert (await client.get("/health/ready")).status_code == 503
        other.fail = None
        assert (await client.get("/health/ready")).status_code == 200
        database.fail = unavailable
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_any_other_failure_only_degrades() -> None:
    async with service(Dependency("redis", critical=False, fail=unavailable)) as client:
        response = await client.get("/health")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        assert (await client.get("/health/ready")).status_code == 200


async def test_a_failure_names_its_kind_never_its_text() -> None:
    async with service(Dependency("database", critical=True, fail=explode)) as client:
        response = await client.get("/health")
        assert response.json()["checks"]["database"]["reason"] == "database_unavailable"
        assert "hunter2" not in response.text


async def test_a_check_that_hangs_is_given_up() -> None:
    async with service(
        Dependency("database", critical=True, fail=lambda: asyncio.Event().wait())
    ) as client:
        report = (await client.get("/health")).json()
        assert report["checks"]["database"]["reason"] == "database_timeout"


async def test_probes_that_come_together_share_one_round() -> None:
    dependency = Dependency("database", critical=True)
    async with service(dependency) as client:
        await asyncio.gather(*(client.get("/health/ready") for _ in range(20)))
        await client.get("/health")
    assert dependency.checks == 1


async def test_checks_run_at_the_same_time() -> None:
    met = asyncio.Barrier(2)

    async def meet() -> None:
        await met.wait()

    async with service(
        Dependency("a", critical=True, fail=meet), Dependency("b", critical=True, fail=meet)
    ) as client:
        assert (await client.get("/health")).status_code == 200


async def test_draining_is_unready_and_alive() -> None:
    async with service(Dependency("database", critical=True)) as client:
        client.app.lifecycle.draining = True  # type: ignore[attr-defined]
        assert (await client.get("/health/ready")).json()["reason"] == "draining"
        assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/health/startup"])
async def test_probes_are_not_cached_and_answer_head(path: str) -> None:
    async with service() as client:
        assert (await client.get(path)).headers["cache-control"] == "no-store"
        assert (await client.head(path)).status_code == 200
