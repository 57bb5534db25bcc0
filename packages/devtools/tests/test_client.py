"""`./dev client`; tests/clients makes real clients and uses them."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from devtools import client, client_python, client_tools, client_typescript
from devtools.client import Language
from devtools.client_tools import NotHereError
from devtools.errors import CommandError, UsageError
from devtools.services import SERVICES, Service


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(documents: Mapping[str, Path], folder: Path) -> None:
        for service, document in documents.items():
            assert document.is_file()
            (folder / service).mkdir()
            (folder / service / "package.json").write_text(f'{{"name": "{service}-client"}}')

    monkeypatch.setattr(client, "MAKERS", dict.fromkeys(Language, make))


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("language", Language)
def test_clients_of_all_services_are_made_and_their_use_is_told(
    language: Language, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.client(language, output=tmp_path / "out")
    names = {service.name for service in SERVICES}
    assert {each.name for each in (tmp_path / "out").iterdir()} == names
    said = capsys.readouterr().out
    assert f"{tmp_path}/out/users" in said
    assert "http://localhost:8001" in said


@pytest.mark.usefixtures("made")
def test_without_another_folder_git_knows_nothing_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FOLDER", tmp_path / "clients")
    client.client(Language.PYTHON, "users")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    status = ["git", "-C", str(tmp_path), "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, check=True).stdout == b""
    assert (tmp_path / "clients/python/users/package.json").is_file()


@pytest.mark.usefixtures("made")
def test_a_client_replaces_a_client_of_the_same_service_and_nothing_else(tmp_path: Path) -> None:
    client.client(Language.PYTHON, "users", output=tmp_path)
    (tmp_path / "users" / "old.py").touch()
    client.client(Language.PYTHON, "users", output=tmp_path)
    assert not (tmp_path / "users" / "old.py").exists()
    mine = tmp_path / "auth" / "mine.txt"
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(CommandError, match="auth is no client of auth; name another folder"):
        client.client(Language.PYTHON, output=tmp_path)
    assert mine.exists()


def test_a_service_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no service usres; did you mean users"):
        client.client(Language.PYTHON, "usres", output=tmp_path)


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_the_example_is_an_operation_that_only_reads(service: Service) -> None:
    example = client.example_of(service)
    assert example.operation.startswith(("read_", "list_"))
    assert example.operation in client_python.usage(service.name, "x", example)
    assert example.path in client_typescript.usage(service.name, "x", example)


def no_network(output: str) -> bool:
    return "ENOTFOUND" in output


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("exit 0", None, ""),
        ("echo ENOTFOUND; exit 1", NotHereError, "It needs a network once, which is not there"),
        ("echo strange >&2; exit 1", CommandError, "^It failed: strange$"),
    ],
)
def test_a_program_that_fails_says_why(
    tmp_path: Path, script: str, error: type[CommandError] | None, message: str
) -> None:
    def run() -> None:
        client_tools.run(["sh", "-c", script], tmp_path, no_network, "It")

    if error is None:
        run()
    else:
        with pytest.raises(CommandError, match=message) as raised:
            run()
        assert raised.type is error


@pytest.mark.parametrize(
    ("missing", "maker"),
    [("uv", client_python.make), ("node", client_typescript.make)],
)
def test_a_missing_program_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    missing: str,
    maker: Callable[[Mapping[str, Path], Path], None],
) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHereError, match=f"^{missing} is missing"):
        maker({}, tmp_path)


def test_the_npm_packages_are_those_of_the_lock_file() -> None:
    package = json.loads((client_typescript.TOOLS / "package.json").read_text())
    lock = json.loads((client_typescript.TOOLS / "package-lock.json").read_text())
    for kind in ("dependencies", "devDependencies"):
        assert lock["packages"][""][kind] == package[kind]
