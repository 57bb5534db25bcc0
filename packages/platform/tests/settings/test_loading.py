"""How settings are read at the start, and what a person is told of wrong ones."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service_platform.settings import Environment, PlatformSettings, explain, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


def test_a_development_machine_needs_no_settings() -> None:
    settings = load_settings(PlatformSettings)
    assert settings.environment is Environment.DEVELOPMENT
    assert settings.api_v1_prefix == "/api/v1"


def test_production_starts_with_sound_settings(deploy: Variables) -> None:
    deploy()
    assert load_settings(PlatformSettings).environment.is_deployed


def test_arguments_win_over_everything(set_variables: Variables) -> None:
    set_variables(PORT="9001")
    assert load_settings(PlatformSettings, port=9002).port == 9002


def test_every_mistake_is_named_at_once(set_variables: Variables, mistakes: Mistakes) -> None:
    set_variables(
        ENVIRONMENT="production",
        DEBUG="true",
        DATABASE_POOL_SIZE="many",
        LOG_LEVEL="loud",
        CORS_ORIGINS="*",
        CORS_ALLOW_CREDENTIALS="true",
    )
    message = mistakes()
    for name in (
        "DEBUG",
        "SECRET_KEY",
        "DATABASE_POOL_SIZE",
        "DATABASE_ALLOW_UNENCRYPTED",
        "LOG_LEVEL",
        "CORS_ALLOW_CREDENTIALS",
    ):
        assert f"  {name}: " in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://root:hunter2hunter2@db/users"),
        ("DATABASE_URL", "postgresql://root:hunter2hunter2@db"),
        ("REDIS_URL", "http://root:hunter2hunter2@cache"),
        ("CORS_ORIGINS", "hunter2hunter2"),
        ("CORS_ORIGINS", "https://hunter2hunter2.example/path"),
        ("TRUSTED_PROXIES", "hunter2hunter2"),
        ("PORT", "hunter2hunter2"),
    ],
)
def test_a_wrong_value_is_named_but_never_shown(
    name: str, value: str, set_variables: Variables, mistakes: Mistakes
) -> None:
    set_variables(**{name: value})
    message = mistakes()
    assert name in message
    assert "hunter2" not in message


def test_a_list_that_is_no_json_is_told_without_a_traceback(
    set_variables: Variables, mistakes: Mistakes
) -> None:
    set_variables(CORS_ORIGINS='["hunter2')
    message = mistakes()
    assert "compare it with .env.example" in message or "CORS_ORIGINS" in message
    assert "hunter2" not in message


def test_an_unreadable_dotenv_file_is_told(
    mistakes: Mistakes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(PlatformSettings.model_config, "env_file", ".env")
    (tmp_path / ".env").write_bytes(b"PROJECT_NAME=\xff\xfe")
    assert "UnicodeDecodeError: cannot be read" in mistakes()


def test_a_mistake_is_a_variable_and_what_it_must_be() -> None:
    errors = [
        {"loc": ("port",), "msg": "Input should be a valid integer"},
        {"loc": ("debug",), "msg": "Value error, must be false in staging and production"},
        # A variable of OpenTelemetry is found by a check of ours, but is named itself.
        {"loc": ("otel_enabled",), "type": "standard_variable", "msg": "OTEL_X: must be y"},
    ]
    assert explain(errors) == [
        "PORT: input should be a valid integer",
        "DEBUG: must be false in staging and production",
        "OTEL_X: must be y",
    ]


def test_a_process_with_a_url_that_cannot_be_honoured_ends_without_showing_it() -> None:
    code = (
        "from service_platform.settings import PlatformSettings, load_settings;"
        "load_settings(PlatformSettings)"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgresql://me:hunter/2@127.0.0.1:1/x",
        "REDIS_URL": "redis://:hunter/2@db",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "DATABASE_URL: has a / or @" in done.stderr
    assert "REDIS_URL: has a / or @" in done.stderr
    assert "hunter" not in done.stderr
