"""FastAPI's telemetry options: the platform's, and those of a service."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.telemetry import TelemetryConfig
from opentelemetry._logs import NoOpLoggerProvider

from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.settings import PlatformSettings
from service_platform.telemetry.exceptions import ExceptionEvents
from service_platform.telemetry.fastapi_config import telemetry_config


def scope_of(*, path: str = "/", is_recorded: bool | None = True) -> dict[str, Any]:
    scope: dict[str, Any] = {"type": "http", "path": path}
    context = RequestContext(scope, {}, settings=PlatformSettings(_env_file=None))
    context.is_recorded, context.sampling, context.trace_flags = is_recorded, object(), "01"
    return {**scope, SCOPE_KEY: context}


Exclude = Callable[[Any], bool]


def exclude_of(config: TelemetryConfig | None) -> Exclude:
    exclude = telemetry_config(config)["exclude"]
    assert exclude is not None
    return exclude


def test_a_service_changes_what_it_likes_but_for_the_export() -> None:
    config = telemetry_config(None)
    assert isinstance(config["logger_provider"], ExceptionEvents)
    assert (config["metrics"], config["auto_configure"]) == (False, False)
    own: TelemetryConfig = {
        "metrics": True,
        "operation_spans": False,
        "logger_provider": NoOpLoggerProvider(),
        "auto_configure": True,
    }
    config = telemetry_config(own)
    assert (config["metrics"], config["operation_spans"]) == (True, False)
    assert isinstance(config["logger_provider"], NoOpLoggerProvider)
    assert config["auto_configure"] is False
    assert "exclude" not in own


@pytest.mark.parametrize(
    ("scope", "excluded"),
    [
        (scope_of(), False),
        (scope_of(is_recorded=False), True),
        (scope_of(is_recorded=None), False),
        (scope_of(path="/health/live", is_recorded=None), True),
        ({"type": "http", "path": "/health/live"}, False),  # around the platform
    ],
)
def test_what_is_not_recorded_is_excluded(scope: dict[str, Any], excluded: bool) -> None:
    assert exclude_of(None)(scope) is excluded


def test_what_a_service_excludes_is_not_recorded() -> None:
    exclude = exclude_of({"exclude": lambda scope: bool(scope["path"] == "/mine")})
    other, mine = scope_of(), scope_of(path="/mine")
    assert not exclude(other)
    assert other[SCOPE_KEY].is_recorded
    assert exclude(mine)
    context = mine[SCOPE_KEY]
    assert (context.is_recorded, context.sampling, context.trace_flags) == (False, None, "00")


def test_a_service_without_spans_records_nothing_and_may_log() -> None:
    scope = scope_of()
    assert not exclude_of({"tracing": False})(scope)
    assert scope[SCOPE_KEY].is_recorded is False
