from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from devtools import image
from devtools.errors import CommandError, UsageError
from devtools.image import docker_command, service_names


@pytest.fixture
def command() -> typer.Typer:
    command = typer.Typer()
    command.command()(image.image)
    return command


def fake_docker(directory: Path, *, client: str, buildx: bool, engine: bool = True) -> Path:
    """A client that answers the two questions which are asked of it."""
    path = directory / "docker"
    path.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = version ] && {{ echo {client}; exit {0 if engine else 1}; }}\n'
        f'[ "$1 $2" = "buildx version" ] && {{ echo v0.20; exit {0 if buildx else 1}; }}\n'
        "exit 99\n"
    )
    path.chmod(0o755)
    return path


def test_the_services_are_the_folders_of_services() -> None:
    assert {"auth", "users"} <= set(service_names())


def test_an_unknown_service_is_answered_with_those_there_are(command: typer.Typer) -> None:
    result = CliRunner().invoke(command, ["nonsense"])
    assert isinstance(result.exception, UsageError)


def test_without_an_engine_it_says_what_to_start(
    command: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER", raising=False)
    result = CliRunner().invoke(command, ["users"])
    assert isinstance(result.exception, CommandError)
    assert "install or start one" in str(result.exception)


@pytest.mark.parametrize(
    ("client", "buildx", "engine", "usable"),
    [
        ("28.2.2", True, True, True),
        ("28.2.2", False, True, False),
        ("20.10.24+dfsg1", False, True, True),  # has BuildKit built in
        ("28.2.2", True, False, False),
    ],
)
def test_a_client_is_used_when_it_has_buildkit_and_an_engine(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    client: str,
    buildx: bool,
    engine: bool,
    usable: bool,
) -> None:
    path = fake_docker(tmp_path, client=client, buildx=buildx, engine=engine)
    monkeypatch.setenv("DOCKER", str(path))
    assert docker_command() == (str(path) if usable else None)


def test_a_client_that_is_not_there_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER", "/nowhere/docker")
    assert docker_command() is None


def test_the_first_usable_client_on_the_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, buildx in (("old", False), ("new", True)):
        (tmp_path / name).mkdir()
        fake_docker(tmp_path / name, client="28.2.2", buildx=buildx)
    monkeypatch.delenv("DOCKER", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:{tmp_path / 'new'}:/bin")
    assert docker_command() == str(tmp_path / "new" / "docker")
