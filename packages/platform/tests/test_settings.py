"""Settings: where they come from, what is refused, and that no value is ever shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from service_platform.settings import Environment, PlatformSettings, is_encrypted, load_settings

STRONG = "k" * 48
DEPLOYED = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": STRONG,
    "DATABASE_URL": "postgresql://items:pw@db/items?sslmode=verify-full",
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in PlatformSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def set_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def mistakes(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        load_settings(PlatformSettings)
    assert stopped.value.code == 78
    return capsys.readouterr().err


def test_a_development_machine_needs_no_settings() -> None:
    settings = load_settings(PlatformSettings)
    assert settings.environment is Environment.DEVELOPMENT
    assert settings.api_v1_prefix == "/api/v1"


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(
        monkeypatch,
        PROJECT_NAME="orders",
        DATABASE_POOL_SIZE="7",
        LOG_LEVEL="warning",
        CORS_ORIGINS="https://a.example, https://b.example",
        WORKERS="3",
    )
    settings = load_settings(PlatformSettings)
    assert (settings.project_name, settings.database_pool_size) == ("orders", 7)
    assert settings.log_level == "WARNING"
    assert settings.cors_origins == ["https://a.example", "https://b.example"]
    assert settings.workers == 3
    assert settings.jwt_audience == "orders"


def test_a_list_may_be_a_json_array(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, CORS_ORIGINS='["https://a.example"]')
    assert load_settings(PlatformSettings).cors_origins == ["https://a.example"]


def test_a_dotenv_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The plugin makes the settings of other tests forget a developer's own file.
    monkeypatch.setitem(PlatformSettings.model_config, "env_file", ".env")
    (tmp_path / ".env").write_text("PROJECT_NAME=from-file\nPORT=9000\n")
    set_variables(monkeypatch, PORT="9001")
    settings = load_settings(PlatformSettings)
    assert (settings.project_name, settings.port) == ("from-file", 9001)


def test_a_mounted_secret_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "SECRET_KEY").write_text("from-the-mounted-file" * 3)
    set_variables(monkeypatch, SECRETS_DIR=str(secrets), SECRET_KEY="from-the-environment" * 3)
    settings = load_settings(PlatformSettings)
    assert settings.secret_key.get_secret_value().startswith("from-the-mounted-file")


def test_every_mistake_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_variables(
        monkeypatch,
        ENVIRONMENT="production",
        DEBUG="true",
        DATABASE_POOL_SIZE="many",
        LOG_LEVEL="loud",
        CORS_ORIGINS="*",
        CORS_ALLOW_CREDENTIALS="true",
    )
    message = mistakes(capsys)
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
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "development-only-secret-key-change-me"),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("DATABASE_URL", "postgresql://items:pw@db/items"),
        ("DATABASE_URL", "postgresql://items:pw@db/items?sslmode=prefer"),
        ("DEBUG", "true"),
    ],
)
def test_production_refuses(
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_variables(monkeypatch, **{**DEPLOYED, name: value})
    assert name.removesuffix("_URL") in mistakes(capsys)


def test_production_starts_with_sound_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, **DEPLOYED)
    assert load_settings(PlatformSettings).environment.is_deployed


def test_an_unencrypted_database_can_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {**DEPLOYED, "DATABASE_URL": "postgresql://items:pw@db/items"}
    set_variables(monkeypatch, **variables, DATABASE_ALLOW_UNENCRYPTED="true")
    load_settings(PlatformSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://root:hunter2hunter2@db/items"),
        ("DATABASE_URL", "postgresql://root:hunter2hunter2@db"),
        ("REDIS_URL", "http://root:hunter2hunter2@cache"),
        ("CORS_ORIGINS", "hunter2hunter2"),
        ("CORS_ORIGINS", "https://hunter2hunter2.example/path"),
        ("TRUSTED_PROXIES", "hunter2hunter2"),
        ("PORT", "hunter2hunter2"),
    ],
)
def test_a_wrong_value_is_named_but_never_shown(
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_variables(monkeypatch, **{name: value})
    message = mistakes(capsys)
    assert name in message
    assert "hunter2" not in message


def test_secrets_do_not_show_in_the_representation() -> None:
    settings = PlatformSettings(secret_key=SecretStr("hunter2" * 8))
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())


def test_secret_keys_begin_with_the_one_in_use() -> None:
    settings = PlatformSettings(
        secret_key=SecretStr("new" * 16), secret_key_fallbacks=[SecretStr("old" * 16)]
    )
    assert settings.secret_keys == ("new" * 16, "old" * 16)


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("postgresql://db/x?sslmode=require", True),
        ("postgresql://db/x?ssl=verify-full", True),
        ("postgresql:///x?host=/run/postgresql", True),
        ("postgresql://db/x", False),
        ("postgresql://db/x?sslmode=disable", False),
        ("postgresql://db/x?sslmode=require&sslmode=disable", False),
    ],
)
def test_what_counts_as_encrypted(url: str, encrypted: bool) -> None:
    assert is_encrypted(SecretStr(url)) is encrypted
