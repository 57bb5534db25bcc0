import gzip
import io
import tarfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from devtools import vendor

SCRIPT = b"// https://cdn.redoc.ly/redoc/logo-mini.svg\n//# sourceMappingURL=redoc.js.map\n"


@pytest.fixture
def command() -> typer.Typer:
    command = typer.Typer()
    command.command()(vendor.vendor)
    return command


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(vendor, "ASSETS", folder)
    return folder


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Put an npm on the PATH that knows one package, with these files."""
    with tarfile.open(folder / "redoc.tgz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    npm = folder / "npm"
    npm.write_text(
        "#!/bin/sh\n"
        f'[ "$*" = "pack --silent redoc@2.5.0" ] && exec cp {folder}/redoc.tgz redoc-2.5.0.tgz\n'
        "exit 1\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_files_are_stored_without_references_to_other_hosts(
    command: typer.Typer, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = dict.fromkeys(vendor.FILES["redoc"], SCRIPT)
    publish(tmp_path, monkeypatch, {**files, "README.md": b"not taken"})
    result = CliRunner().invoke(command, ["redoc", "2.5.0"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in assets.iterdir()} == set(vendor.FILES["redoc"].values())
    script = gzip.decompress((assets / "redoc.standalone.js.gz").read_bytes())
    assert script.startswith(b"// data:image/gif;base64,")
    assert b"sourceMappingURL" not in script
    assert (assets / "redoc.LICENSE").read_bytes() == SCRIPT


def test_a_version_that_lacks_a_file_replaces_nothing(
    command: typer.Typer, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, monkeypatch, {"bundles/redoc.standalone.js": SCRIPT})
    result = CliRunner().invoke(command, ["redoc", "2.5.0"])
    assert result.exit_code == 1
    assert "redoc@2.5.0 has no file LICENSE" in result.output
    assert list(assets.iterdir()) == []


def test_what_cannot_be_fetched_is_told(
    command: typer.Typer, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, monkeypatch, {})
    result = CliRunner().invoke(command, ["redoc", "0.0.0"])
    assert result.exit_code == 1
    assert "npm could not fetch redoc@0.0.0." in result.output
    assert CliRunner().invoke(command, ["leftpad", "1.0.0"]).exit_code == 2
    monkeypatch.setenv("PATH", str(assets))
    assert "install Node.js" in CliRunner().invoke(command, ["redoc", "2.5.0"]).output


def test_the_vendored_files_are_where_the_command_writes_them() -> None:
    expected = {target for files in vendor.FILES.values() for target in files.values()}
    assert expected <= {path.name for path in vendor.ASSETS.iterdir()}
