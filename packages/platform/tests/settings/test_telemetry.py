"""What a process tells about itself: level and form of its log, and whether it exports."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service_platform.settings import PlatformSettings, load_settings, otel_variables

Variables = Callable[..., None]
Mistakes = Callable[[], str]

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture(autouse=True)
def _no_standard_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in otel_variables.read_otel_variables(tmp_path):
        monkeypatch.delenv(name)


def test_a_level_may_be_written_in_small_letters(
    set_variables: Variables, mistakes: Mistakes
) -> None:
    set_variables(LOG_LEVEL="warning")
    assert load_settings(PlatformSettings).log_level == "WARNING"
    set_variables(LOG_LEVEL="loud")
    assert "LOG_LEVEL: input should be 'DEBUG', 'INFO'" in mistakes()


@pytest.mark.parametrize(
    ("name", "value"), [("LOG_FORMAT", "xml"), ("LOG_QUEUE_SIZE", "99"), ("OTEL_ENABLED", "maybe")]
)
def test_unknown_forms_are_refused(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"{name}: input should be" in mistakes()


@pytest.mark.parametrize(
    ("variables", "enabled"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://collector:4318"}, False),
        ({**ENDPOINT, "OTEL_ENABLED": "true"}, True),
        ({**ENDPOINT, "OTEL_ENABLED": "false"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_ENABLED": "true", "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, False),
        # Nobody looks at variables of what is off.
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense", "OTEL_ENABLED": "false"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_an_endpoint_switches_the_export_on(
    set_variables: Variables, variables: dict[str, str], enabled: bool
) -> None:
    set_variables(**variables)
    assert load_settings(PlatformSettings).otel_enabled is enabled


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_ENABLED": "true"}, "OTEL_ENABLED: is true, so set OTEL_EXPORTER_OTLP_ENDPOINT"),
        (
            {
                **ENDPOINT,
                "OTEL_ENABLED": "true",
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
            },
            "OTEL_ENABLED: is true, so set OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: must be an absolute http or https URL",
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf",
        ),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: must be otlp"),
        ({**ENDPOINT, "OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER: must be one of"),
        (
            {
                **ENDPOINT,
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "1.5",
            },
            "OTEL_TRACES_SAMPLER_ARG: must be a share of the traces from 0 to 1",
        ),
    ],
)
def test_a_wrong_variable_is_one_sentence_with_its_own_name(
    set_variables: Variables, mistakes: Mistakes, variables: dict[str, str], told: str
) -> None:
    set_variables(**variables)
    _, line, end = mistakes().split("\n")
    assert line.startswith(f"  {told}")
    assert end == ""


def test_a_missing_extra_is_one_sentence(
    set_variables: Variables, mistakes: Mistakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel_variables, "EXPORTER_MODULE", "opentelemetry.exporter.none")
    set_variables(**ENDPOINT)
    assert mistakes().splitlines()[1:] == [
        "  OTEL_EXPORTER_OTLP_ENDPOINT is set, so install the extra: service-platform[otel]"
    ]


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "otel_exporter_otlp_endpoint"])
def test_a_mounted_file_switches_the_export_on(
    set_variables: Variables, mistakes: Mistakes, tmp_path: Path, name: str
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / name).write_text("http://collector:4318")
    set_variables(SECRETS_DIR=str(secrets))
    assert load_settings(PlatformSettings).otel_enabled
    (secrets / name).write_text("nonsense")
    set_variables(**ENDPOINT)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: must be" in mistakes()
