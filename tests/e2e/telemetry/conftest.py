"""Services that export to a collector, started for the tests of this folder."""

from collections.abc import Iterator

import pytest
from tests.e2e.system import SERVICES, StartedSystem

from service_testing.collector import Collector, running_collector
from service_testing.databases import TestDatabases


def exporting_to(collector: Collector) -> dict[str, str]:
    """The variables that make a service record everything and export it soon."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
    }


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def system(
    databases: TestDatabases, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[StartedSystem]:
    with StartedSystem(
        databases, tmp_path_factory.mktemp("system"), **exporting_to(collector)
    ) as started:
        started.start(*SERVICES)
        started.wait_until_healthy()
        yield started
