"""OpenTelemetry's own variables: where they are read, and what is said of wrong ones."""

import contextlib
import logging
import os
from importlib import metadata
from pathlib import Path

import pytest
from opentelemetry.util.re import parse_env_headers

from service_platform.settings import otel_variables
from service_platform.settings.otel_variables import (
    OtelVariableError,
    endpoint_of,
    is_sdk_disabled,
    otel_environment,
    read_otel_variables,
    require_exportable,
)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
URL = "http://collector:4318"


def test_the_environment_is_read_but_for_what_is_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENDPOINT, URL)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "")
    assert read_otel_variables(tmp_path / "none") == {ENDPOINT: URL}


@pytest.mark.parametrize("name", [ENDPOINT, ENDPOINT.lower()])
def test_a_file_of_the_secrets_directory_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://other:4318")
    (tmp_path / name).write_text(f"{URL}\n")
    (tmp_path / "OTEL_SERVICE_NAME").write_text("\n")
    (tmp_path / "SECRET_KEY").write_text("not ours")
    (tmp_path / "OTEL_FOLDER").mkdir()
    assert read_otel_variables(tmp_path) == {ENDPOINT: URL}


def test_variables_are_in_the_environment_only_while_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://before:4318")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_HEADERS", raising=False)
    variables = {ENDPOINT: URL, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret"}
    with contextlib.suppress(KeyError), otel_environment(variables):
        assert os.environ[ENDPOINT] == URL
        assert os.environ["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=secret"
        raise KeyError
    assert os.environ[ENDPOINT] == "http://before:4318"
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in os.environ


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({}, None, None),
        ({ENDPOINT: URL}, URL, URL),
        ({TRACES: URL}, URL, None),
        ({ENDPOINT: "http://other", TRACES: URL}, URL, "http://other"),
        ({ENDPOINT: URL, "OTEL_TRACES_EXPORTER": " None"}, None, URL),
        ({ENDPOINT: URL, "OTEL_METRICS_EXPORTER": "none"}, URL, None),
        ({TRACES: URL, "OTEL_TRACES_EXPORTER": "none"}, None, None),
    ],
)
def test_each_signal_goes_where_its_variables_say(
    variables: dict[str, str], traces: str | None, metrics: str | None
) -> None:
    assert endpoint_of("TRACES", variables) == traces
    assert endpoint_of("METRICS", variables) == metrics


@pytest.mark.parametrize(
    ("value", "disabled"), [("true", True), (" TRUE ", True), ("1", False), ("false", False)]
)
def test_only_the_word_true_disables_the_sdk(value: str, disabled: bool) -> None:
    assert is_sdk_disabled({"OTEL_SDK_DISABLED": value}) is disabled
    assert not is_sdk_disabled({})


@pytest.mark.parametrize(
    "variables",
    [
        {ENDPOINT: URL},
        {ENDPOINT: "https://collector.example/otlp?a=b"},
        {TRACES: "http://[::1]:4318/v1/traces"},
        {ENDPOINT: URL, "OTEL_TRACES_EXPORTER": "OTLP"},
        {ENDPOINT: URL, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {ENDPOINT: URL, "OTEL_TRACES_SAMPLER": "traceidratio"},
        {ENDPOINT: URL, "OTEL_TRACES_SAMPLER": "Always_On"},
        {
            ENDPOINT: URL,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.05",
        },
        {ENDPOINT: URL, "OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "x"},
        # What a signal's own variable replaces, or what is not exported, is nobody's business.
        {
            ENDPOINT: URL,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        },
        {
            ENDPOINT: URL,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "nonsense",
        },
    ],
)
def test_what_can_be_exported_is_accepted(variables: dict[str, str]) -> None:
    require_exportable(variables)


WRONG = [
    (ENDPOINT, "collector:4318"),
    (ENDPOINT, "/v1/traces"),
    (ENDPOINT, "ftp://collector"),
    (ENDPOINT, "http://"),
    (ENDPOINT, "http://collector:port"),
    (ENDPOINT, "http://collector:0"),
    (ENDPOINT, "http://collector:99999"),
    (ENDPOINT, "http://[collector"),
    (TRACES, "nonsense"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "nonsense"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
    ("OTEL_TRACES_EXPORTER", "zipkin"),
    ("OTEL_METRICS_EXPORTER", "prometheus"),
    ("OTEL_TRACES_SAMPLER", "sometimes"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_variable_is_named_in_a_sentence(name: str, value: str) -> None:
    with pytest.raises(OtelVariableError) as refused:
        require_exportable({ENDPOINT: URL, name: value})
    told = str(refused.value)
    assert told.startswith(f"{name}: must be ")
    assert "\n" not in told
    assert value not in told.replace("http://collector:4318", "")


@pytest.mark.parametrize("argument", ["1.5", "-0.1", "x", "nan", "5%"])
@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_a_wrong_share_of_the_traces_is_named(sampler: str, argument: str) -> None:
    with pytest.raises(OtelVariableError, match=r"^OTEL_TRACES_SAMPLER_ARG: must be a share .*$"):
        require_exportable(
            {
                ENDPOINT: URL,
                "OTEL_TRACES_SAMPLER": sampler,
                "OTEL_TRACES_SAMPLER_ARG": argument,
            }
        )


def test_a_sampler_that_a_library_brings_is_accepted_with_any_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = metadata.EntryPoint("xray", "somewhere:Sampler", otel_variables.SAMPLER_ENTRY_POINTS)
    monkeypatch.setattr(otel_variables, "entry_points", lambda **_: [point])
    require_exportable(
        {ENDPOINT: URL, "OTEL_TRACES_SAMPLER": "xray", "OTEL_TRACES_SAMPLER_ARG": "endpoint=x"}
    )


HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("authorization=Bearer%20hunter2", 1),
        ("authorization=Bearer hunter2", 1),
        (" a=1 , x-b = 2,", 2),
        ("a=b=c==,d=", 2),
        ("Bearer hunter2", None),
        ("authorization: Bearer hunter2", None),
        ('authorization="hunter2"', None),
        ("a=1,hunter2", None),
        ("a=hunter2;b=2", None),
        ("a=hünter2", None),
    ],
)
def test_headers_that_the_sdk_would_log_and_leave_out_are_refused_without_them(
    value: str, count: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="opentelemetry.util.re")
    understood = parse_env_headers(value, liberal=True)
    if count is None:
        assert "Header format invalid" in caplog.text
        with pytest.raises(OtelVariableError, match=f"^{HEADERS}: must be name=value") as refused:
            require_exportable({ENDPOINT: URL, HEADERS: value})
        assert "nter2" not in str(refused.value)
    else:
        require_exportable({ENDPOINT: URL, HEADERS: value})
        assert len(understood) == count
        assert caplog.text == ""


@pytest.mark.parametrize("module", ["opentelemetry.exporter.none", "no_such_package.exporter"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(otel_variables, "EXPORTER_MODULE", module)
    with pytest.raises(OtelVariableError, match=r"install the extra: service-platform\[otel\]$"):
        require_exportable({ENDPOINT: URL})
