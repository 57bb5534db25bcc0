"""What a service declares is what its code does."""

import json
from typing import Any

import pytest

from devtools.openapi import path_of
from devtools.services import SERVICES, Service
from service_platform.app import ServiceApp
from service_platform.events import Consumer
from service_platform.events.relay import Relay
from service_platform.jobs import JobWorker
from service_testing.services import application, environment_of, without_env_file

pytestmark = pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)


@pytest.fixture
def app(service: Service, monkeypatch: pytest.MonkeyPatch) -> ServiceApp:
    without_env_file(monkeypatch)
    nowhere = environment_of(
        service.name,
        database_url="postgresql://nobody@127.0.0.1/x",
        redis_url="redis://127.0.0.1",
        auth_url="http://127.0.0.1",
    )
    for name, value in nowhere.items():
        monkeypatch.setenv(name, value)
    made = application(service.name)
    assert isinstance(made, ServiceApp)
    return made


def test_its_streams_are_those_of_its_resources(service: Service, app: ServiceApp) -> None:
    resources = app.lifecycle.resources
    heard = {each.stream for each in resources if isinstance(each, Consumer)}
    sent = {each.stream for each in resources if isinstance(each, Relay)}
    assert heard == set(service.declaration.hears)
    assert sent == set(service.declaration.publishes)


def test_it_has_a_worker_if_it_has_jobs(service: Service, app: ServiceApp) -> None:
    has_jobs = any(isinstance(each, JobWorker) for each in app.lifecycle.resources)
    assert has_jobs == service.declaration.worker


def test_its_scopes_are_those_its_api_asks_for(service: Service) -> None:
    document: dict[str, Any] = json.loads(path_of(service).read_text())
    asked = {
        scope
        for path in document["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
        for way in operation.get("security", [])
        for scope in way.get("OAuth2", [])
    }
    assert asked == set(service.declaration.scopes)


def test_its_paths_are_below_its_name_or_declared(service: Service) -> None:
    """Others would be reached by nobody: the gateway leads to declared paths only."""
    document: dict[str, Any] = json.loads(path_of(service).read_text())
    public = (f"/api/v1/{service.name}", *service.declaration.paths)
    for path in document["paths"]:
        assert any(path == each or path.startswith(f"{each}/") for each in public), path
