"""Where settings come from, and what deployed services refuse."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


def test_variables_are_read(set_variables: Variables) -> None:
    set_variables(PROJECT_NAME="orders", DATABASE_POOL_SIZE="7", API_V1_PREFIX="/v1", VERSION="")
    settings = load_settings(PlatformSettings)
    assert (settings.project_name, settings.database_pool_size) == ("orders", 7)
    assert (settings.api_v1_prefix, settings.version) == ("/v1", "0.1.0")


def test_a_dotenv_file_is_read_and_the_environment_wins(
    set_variables: Variables, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The plugin makes the settings of other tests forget a developer's own file.
    monkeypatch.setitem(PlatformSettings.model_config, "env_file", ".env")
    (tmp_path / ".env").write_text("PROJECT_NAME=from-file\nPORT=9000\n")
    set_variables(PORT="9001")
    settings = load_settings(PlatformSettings)
    assert (settings.project_name, settings.port) == ("from-file", 9001)


def test_a_mounted_secret_wins_over_the_environment(
    set_variables: Variables, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "SECRET_KEY").write_text("from-the-mounted-file" * 3)
    set_variables(SECRETS_DIR=str(secrets), SECRET_KEY="from-the-environment" * 3)
    settings = load_settings(PlatformSettings)
    assert settings.secret_key.get_secret_value().startswith("from-the-mounted-file")


@pytest.mark.parametrize(
    ("environment", "deployed"),
    [("development", False), ("test", False), ("staging", True), ("production", True)],
)
def test_debugging_is_refused_where_strangers_reach_the_service(
    deploy: Variables, mistakes: Mistakes, environment: str, deployed: bool
) -> None:
    deploy(ENVIRONMENT=environment, DEBUG="true")
    if deployed:
        assert "DEBUG: must be false in staging and production" in mistakes()
    else:
        assert load_settings(PlatformSettings).debug


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_V1_PREFIX", "api"),
        ("API_V1_PREFIX", "/api/"),
        ("ROOT_PATH", "shop"),
        ("PROBLEM_TYPE_BASE_URL", "https://p.example/"),
        ("PROBLEM_TYPE_BASE_URL", "ftp://p.example"),
    ],
)
def test_paths_and_urls_have_one_form(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"{name}: string should match pattern" in mistakes()


def test_settings_are_not_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PlatformSettings().debug = True  # type: ignore[misc]
