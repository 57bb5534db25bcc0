"""A collector, and the shop as a service that exports to it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import opentelemetry.trace
import pytest
from httpx2 import AsyncClient
from opentelemetry.metrics import _internal as otel_metrics

from service_platform.database import Database
from service_platform.settings import PlatformSettings
from service_platform.telemetry.export import TelemetryExport
from service_platform.telemetry.providers import process_tracing
from service_testing.collector import Collector, running_collector

MakeClient = Callable[..., AbstractAsyncContextManager[AsyncClient]]


@pytest.fixture(autouse=True)
def _other_tests_have_no_providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hides the providers of this process behind a test: with them FastAPI makes spans for ever."""
    providers: Any = opentelemetry.trace
    meters: Any = otel_metrics
    if process_tracing._provider is not None:
        providers._TRACER_PROVIDER = process_tracing._provider
    yield
    providers._TRACER_PROVIDER = None
    meters._METER_PROVIDER = None


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture
def otel_variables(collector: Collector) -> dict[str, str]:
    """The variables that make a service export to the collector."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}


@pytest.fixture
def exporting_client(make_client: MakeClient, otel_variables: dict[str, str]) -> MakeClient:
    """`async with exporting_client(OTEL_TRACES_SAMPLER="always_off") as client:`"""

    @asynccontextmanager
    async def make(**variables: str) -> AsyncIterator[AsyncClient]:
        async with make_client(**{**otel_variables, **variables}) as client:
            yield client

    return make


@pytest.fixture
async def exporting(
    otel_variables: dict[str, str], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Collector]:
    """The collector, while this process exports spans to it without an application."""
    for name, value in {**otel_variables, "OTEL_METRICS_EXPORTER": "none"}.items():
        monkeypatch.setenv(name, value)
    async with TelemetryExport(PlatformSettings(_env_file=None, project_name="shop")):
        yield collector


@pytest.fixture
async def database(exporting: Collector, database: Database) -> Database:
    """The shop's database in a process that exports."""
    return database
