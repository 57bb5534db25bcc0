"""A collector, and the shop as a service that exports to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import opentelemetry.trace
import pytest
from httpx2 import AsyncClient
from opentelemetry.context import Context
from opentelemetry.metrics import _internal as otel_metrics

from service_platform.database import Database
from service_platform.settings import PlatformSettings
from service_platform.telemetry.export import TelemetryExport
from service_platform.telemetry.providers import process_tracing
from service_platform.telemetry.tracing import span
from service_testing.collector import Collector, ReceivedSpan, running_collector

Traced = Callable[[Awaitable[object]], Awaitable[list[ReceivedSpan]]]
MakeClient = Callable[..., AbstractAsyncContextManager[AsyncClient]]

_meter_provider: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _other_tests_have_no_providers() -> Iterator[None]:
    """Hides the providers of this process behind a test: with them FastAPI makes spans for ever."""
    tracers: Any = opentelemetry.trace
    meters: Any = otel_metrics
    tracers._TRACER_PROVIDER = process_tracing._provider
    meters._METER_PROVIDER = _meter_provider.get("known")
    yield
    _meter_provider["known"] = meters._METER_PROVIDER
    tracers._TRACER_PROVIDER = meters._METER_PROVIDER = None


@pytest.fixture(scope="module")
def _running_collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture
def collector(_running_collector: Collector) -> Collector:
    """A collector that has received nothing yet; the tests of a file share it."""
    _running_collector.spans.clear()
    _running_collector.metrics.clear()
    _running_collector.headers.clear()
    _running_collector.answer = lambda: (200, b"")
    return _running_collector


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
def traced(exporting: Collector) -> Traced:
    """Awaits something in a span; returns the spans inside, in the order of their beginnings."""

    async def run(work: Awaitable[object]) -> list[ReceivedSpan]:
        exporting.spans.clear()
        try:
            with span("around"):
                await work
        finally:
            await asyncio.sleep(0)
            with span("the end", context=Context()):
                pass
            await asyncio.to_thread(
                exporting.wait_for, lambda spans: any(each.name == "the end" for each in spans)
            )
        (around,) = [each for each in exporting.spans if each.name == "around"]
        inside = [each for each in exporting.spans if each.trace_id == around.trace_id]
        known = {each.span_id for each in inside}
        assert all(each.parent_id in known for each in inside if each is not around)
        assert len(exporting.spans) == len(inside) + 1
        inside.remove(around)
        return sorted(inside, key=lambda each: each.start)

    return run


@pytest.fixture
async def database(exporting: Collector, database: Database) -> Database:
    """The shop's database in a process that exports."""
    return database
