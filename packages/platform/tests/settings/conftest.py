"""A process without settings of its own, for tests of how settings are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service_platform.settings import PlatformSettings, load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in PlatformSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def set_variables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_them(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_them


@pytest.fixture
def deploy(set_variables: Callable[..., None]) -> Callable[..., None]:
    """Sets the variables of a sound production service, and others that a test likes."""

    def deploy(**changed: str) -> None:
        sound = {
            "ENVIRONMENT": "production",
            "SECRET_KEY": "k" * 48,
            "DATABASE_URL": "postgresql://users:pw@db/users?sslmode=verify-full",
        }
        set_variables(**{**sound, **changed})

    return deploy


@pytest.fixture
def mistakes(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Loads the settings, which must be refused; returns what the start says."""

    def load() -> str:
        with pytest.raises(SystemExit) as stopped:
            load_settings(PlatformSettings)
        assert stopped.value.code == 78
        return capsys.readouterr().err

    return load
