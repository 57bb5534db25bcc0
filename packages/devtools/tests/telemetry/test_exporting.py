from pathlib import Path

import pytest

from devtools.addresses import without_user
from devtools.environment import environment_of
from devtools.errors import UsageError
from devtools.services import AUTH
from devtools.state import State
from devtools.telemetry.exporting import checked_url

ENDPOINT = "http://127.0.0.1:4318"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))


def environment(endpoint: str) -> dict[str, str]:
    state = State(
        pid=1,
        postgres_url="postgresql://a@127.0.0.1/x",
        redis_url="redis://127.0.0.1",
        otlp_endpoint=endpoint,
    )
    found = environment_of(AUTH, state)
    return {name: value for name, value in found.items() if name.startswith("OTEL_")}


def test_a_service_gets_what_it_needs_to_export_at_once() -> None:
    assert environment(ENDPOINT) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT,
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }
    assert environment("") == {}


def test_what_a_person_has_set_stays_except_for_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_BSP_SCHEDULE_DELAY": "9"}
    places = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces",
    }
    for name, value in {**own, **places}.items():
        monkeypatch.setenv(name, value)
    assert environment(ENDPOINT) == {**own, "OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}
    assert environment("") == {**own, **places}


@pytest.mark.parametrize("url", ["http://127.0.0.1:4318", "https://me:secret@viewer.example/otlp/"])
def test_a_url_to_send_to(url: str) -> None:
    assert checked_url(url) == url
    assert checked_url(None) == ""


@pytest.mark.parametrize(
    "url",
    ["", "localhost:4318", "/otlp", "ftp://viewer", "http://", "http://a:x", "http://a:99999",
     "http://[::1", "http://a?b=c", "http://a b", "grpc://127.0.0.1:4317"],
)  # fmt: skip
def test_a_url_that_cannot_be_sent_to(url: str) -> None:
    with pytest.raises(UsageError, match="--otlp needs an absolute http or https URL"):
        checked_url(url)


def test_a_password_in_a_url_is_not_shown() -> None:
    assert without_user("https://me:secret@viewer:1/otlp") == "https://viewer:1/otlp"
    assert without_user(ENDPOINT) == ENDPOINT
