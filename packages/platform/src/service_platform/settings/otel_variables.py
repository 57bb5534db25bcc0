"""Reads and checks the standard variables of OpenTelemetry (`OTEL_*`).

They are no settings of ours, but OpenTelemetry's own: its SDK reads them from the environment. Here
they may also be files of the secrets directory, as settings may, because
`OTEL_EXPORTER_OTLP_HEADERS` usually has a token.

Source: OpenTelemetry Specification, "Environment Variable Specification" and "OpenTelemetry
Protocol Exporter".
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PREFIX: Final = "OTEL_"
EXPORTER_MODULE: Final = "opentelemetry.exporter.otlp.proto.http"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SIGNALS: Final = ("TRACES", "METRICS")
PROTOCOL: Final = "http/protobuf"
SAMPLERS: Final = frozenset(
    {
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    }
)
SAMPLER_ENTRY_POINTS: Final = "opentelemetry_traces_sampler"

HEADER: Final = re.compile(
    r"[!#-'*+\-.0-9A-Z^-z|~]+[ \t]*=[ !#-+\--:<-\[\]-~]*"  # as the SDK takes it
)


class OtelVariableError(ValueError):
    """A standard variable makes it impossible to export; the message is one sentence."""


def read_otel_variables(secrets_dir: Path) -> dict[str, str]:
    """Return the variables `OTEL_*` that are not empty, by name.

    Args:
        secrets_dir: directory whose files win over the environment; it need not exist.
    """
    found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and value}
    if secrets_dir.is_dir():
        for file in secrets_dir.iterdir():
            name = file.name.upper()
            if name.startswith(PREFIX) and file.is_file():
                value = file.read_text(encoding="utf-8").strip()
                if value:
                    found[name] = value
    return found


@contextmanager
def otel_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Put variables into the environment, where the SDK reads them, and take them out again.

    What came from the secrets directory is then in no environment that a child would inherit.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def is_sdk_disabled(variables: Mapping[str, str]) -> bool:
    """Return whether `OTEL_SDK_DISABLED` switches everything off."""
    return variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def endpoint_of(signal: str, variables: Mapping[str, str]) -> str | None:
    """Return where a signal goes, `None` where it is not exported.

    Args:
        signal: `TRACES` or `METRICS`.
        variables: see `read_otel_variables`.
    """
    if variables.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() == "none":
        return None
    return variables.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or variables.get(ENDPOINT)


def require_exportable(variables: Mapping[str, str]) -> None:
    """Check that telemetry can be exported as the variables say.

    Raises:
        OtelVariableError: it cannot; the message names the variable and says what to do.
    """
    if not _is_installed(EXPORTER_MODULE):
        raise OtelVariableError(f"{ENDPOINT} is set, so install the extra: service-platform[otel]")
    for signal in SIGNALS:
        _check_exporter(signal, variables)
        if endpoint_of(signal, variables) is not None:
            _check_protocol(signal, variables)
            _check_endpoint(signal, variables)
            _check_headers(signal, variables)
    _check_sampler(variables)


def _check_exporter(signal: str, variables: Mapping[str, str]) -> None:
    name = f"OTEL_{signal}_EXPORTER"
    if variables.get(name, "otlp").strip().lower() not in {"otlp", "none"}:
        raise OtelVariableError(f"{name}: must be otlp or none")


def _check_protocol(signal: str, variables: Mapping[str, str]) -> None:
    own = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    name = own if own in variables else "OTEL_EXPORTER_OTLP_PROTOCOL"
    if variables.get(name, PROTOCOL).strip() != PROTOCOL:
        raise OtelVariableError(
            f"{name}: must be {PROTOCOL}; leave it out and give the collector's HTTP port, "
            "usually 4318"
        )


def _check_endpoint(signal: str, variables: Mapping[str, str]) -> None:
    own = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"
    name = own if own in variables else ENDPOINT
    endpoint = variables.get(name)
    if endpoint is None:
        return
    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0:
        raise OtelVariableError(
            f"{name}: must be an absolute http or https URL, such as http://collector:4318"
        )


def _check_headers(signal: str, variables: Mapping[str, str]) -> None:
    """Refuse what the SDK would leave out, because it logs that with the token in it."""
    own = f"OTEL_EXPORTER_OTLP_{signal}_HEADERS"
    name = own if own in variables else "OTEL_EXPORTER_OTLP_HEADERS"
    for header in variables.get(name, "").split(","):
        if header.strip() and not HEADER.fullmatch(header.strip()):
            raise OtelVariableError(
                f"{name}: must be name=value, with commas between several and special characters "
                "as %2C, such as authorization=Bearer%20token"
            )


def _check_sampler(variables: Mapping[str, str]) -> None:
    sampler = variables.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").strip().lower()
    if sampler not in SAMPLERS:
        known = {point.name for point in entry_points(group=SAMPLER_ENTRY_POINTS)}
        if sampler not in known:
            raise OtelVariableError(
                f"OTEL_TRACES_SAMPLER: must be one of {', '.join(sorted(SAMPLERS | known))}"
            )
        return  # its argument is its own business
    argument = variables.get("OTEL_TRACES_SAMPLER_ARG")
    if argument is not None and sampler.endswith("traceidratio"):
        try:
            valid = 0.0 <= float(argument) <= 1.0
        except ValueError:
            valid = False
        if not valid:
            raise OtelVariableError(
                "OTEL_TRACES_SAMPLER_ARG: must be a share of the traces from 0 to 1, such as 0.05"
            )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


__all__ = [
    "ENDPOINT",
    "OtelVariableError",
    "endpoint_of",
    "is_sdk_disabled",
    "otel_environment",
    "read_otel_variables",
    "require_exportable",
]
