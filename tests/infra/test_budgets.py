"""Times that stand in different files and must fit into each other, taken from where they stand."""

import re
from typing import Any

import pytest
from tests.infra.conftest import overlay

from devtools.image import service_names
from devtools.manifests import Rendered
from service_platform.resources import STOP_TIMEOUT_SECONDS
from service_platform.settings import PlatformSettings

HANGING_RESOURCES = 2
"""As many resources may take their whole time to close: Redis and the database, say."""


@pytest.fixture(scope="module", params=["dev", "production"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return overlay(request.param)


@pytest.fixture(params=service_names())
def deployment(request: pytest.FixtureRequest, rendered: Rendered) -> dict[str, Any]:
    (found,) = [
        each
        for each in rendered.documents
        if each["kind"] == "Deployment" and each["metadata"]["name"] == request.param
    ]
    return dict(found["spec"])


@pytest.fixture
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return dict(deployment["template"]["spec"])


@pytest.fixture
def settings(pod: dict[str, Any], rendered: Rendered) -> PlatformSettings:
    """What the process reads from its ConfigMaps; production would ask for its secrets, too."""
    maps = {
        each["metadata"]["name"]: each["data"]
        for each in rendered.documents
        if each["kind"] == "ConfigMap"
    }
    values: dict[str, Any] = {}
    for source in pod["containers"][0]["envFrom"]:
        map_name = source["configMapRef"]["name"]
        if not map_name.startswith("telemetry-config-"):  # OpenTelemetry's own variables
            values |= {name.lower(): value for name, value in maps[map_name].items()}
    values["environment"] = "test"
    unknown = set(values) - set(PlatformSettings.model_fields)
    assert not unknown, f"no such setting: {unknown}"
    return PlatformSettings(_env_file=None, **values)


def test_a_pod_has_the_time_to_end(pod: dict[str, Any], settings: PlatformSettings) -> None:
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = (
        pre_stop
        + settings.drain_delay_seconds
        + settings.shutdown_timeout_seconds
        + HANGING_RESOURCES * STOP_TIMEOUT_SECONDS
    )
    assert needed <= pod["terminationGracePeriodSeconds"]


def test_a_request_in_flight_has_the_time_it_would_have_had_anyway(
    settings: PlatformSettings,
) -> None:
    assert settings.shutdown_timeout_seconds >= settings.request_timeout_seconds


def test_a_statement_ends_before_its_request(settings: PlatformSettings) -> None:
    assert settings.database_statement_timeout_seconds < settings.request_timeout_seconds


def test_a_probe_waits_for_the_checks_it_asks_for(
    pod: dict[str, Any], settings: PlatformSettings
) -> None:
    probe = pod["containers"][0]["readinessProbe"]
    assert probe["timeoutSeconds"] > settings.health_check_timeout_seconds


def test_a_rollout_is_not_given_up_while_a_pod_waits_for_its_database(
    deployment: dict[str, Any], pod: dict[str, Any]
) -> None:
    (wait,) = re.findall(r"--wait (\d+)", pod["initContainers"][0]["command"][-1])
    startup = pod["containers"][0]["startupProbe"]
    starting = startup["periodSeconds"] * startup["failureThreshold"]
    assert int(wait) + starting < deployment["progressDeadlineSeconds"]


def test_each_pod_takes_its_share_of_the_limits_while_redis_is_away() -> None:
    documents = overlay("production").documents
    (configuration,) = [
        each["data"]
        for each in documents
        if each["kind"] == "ConfigMap" and each["metadata"]["name"].startswith("service-config-")
    ]
    minimum = {
        each["spec"]["minReplicas"]
        for each in documents
        if each["kind"] == "HorizontalPodAutoscaler"
    }
    assert minimum == {int(configuration["RATE_LIMIT_REPLICAS"])}
