"""`fetch_uv.py` against an index of its own, which serves what it would get from a real one."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from devtools import fetch_uv
from devtools.project import ROOT

SCRIPT = Path(fetch_uv.__file__)
NAME = "uv-9.9.9-py3-none-any.whl"


@pytest.fixture
def wheel() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uv", "#!/bin/sh\necho uv 9.9.9\n")
    return content.getvalue()


@pytest.fixture
def folder(tmp_path: Path, wheel: bytes) -> Path:
    served = tmp_path / "served"
    for place in ("files", "mirror/simple/uv", "json/uv"):
        (served / place).mkdir(parents=True)
    (served / "files" / NAME).write_bytes(wheel)
    (served / "mirror" / NAME).write_bytes(wheel)
    page = f'<a href="../../{NAME}#sha256=x">{NAME}</a>'
    (served / "mirror/simple/uv/index.html").write_text(page)
    listed = json.dumps({"files": [{"url": f"../../mirror/{NAME}"}]})
    (served / "json/uv/index.html").write_text(listed)
    return served


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def index(folder: Path, asked: list[str]) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def lock(tmp_path: Path, index: str, wheel: bytes) -> Path:
    file = tmp_path / "uv.lock"
    digest = hashlib.sha256(wheel).hexdigest()
    file.write_text(
        '[[package]]\nname = "uv"\nversion = "9.9.9"\nwheels = [\n'
        f'{{ url = "{index}/files/{NAME}", hash = "sha256:{digest}", size = {len(wheel)} }},\n]\n'
    )
    return file


def fetch(lock: Path, target: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(lock), str(target)],
        env={"HOME": str(lock.parent), "PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_of_the_lock_is_fetched_with_the_standard_library_alone(
    lock: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "uv"
    done = fetch(lock, target)
    assert done.returncode == 0, done.stderr
    assert "fetching uv 9.9.9" in done.stderr
    assert subprocess.run([target], capture_output=True, text=True, check=True).stdout == (
        "uv 9.9.9\n"
    )


@pytest.mark.parametrize("place", ["mirror/simple", "json"])
def test_the_index_that_is_configured_is_used(
    lock: Path, tmp_path: Path, index: str, asked: list[str], place: str
) -> None:
    url = f"{index.replace('//', '//me:secret@')}/{place}"
    done = fetch(lock, tmp_path / "uv", PIP_INDEX_URL=url)
    assert done.returncode == 0, done.stderr
    assert not any("/files/" in each for each in asked)
    assert all("Basic bWU6c2VjcmV0" in each for each in asked)
    assert "secret" not in done.stderr


def test_configuration_files_of_uv_and_pip_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    pip, uv = tmp_path / "pip" / "pip.conf", tmp_path / "uv" / "uv.toml"
    for file in (pip, uv):
        file.parent.mkdir()
    pip.write_text("[global]\nindex-url = http://of.pip/simple\n")
    assert fetch_uv.configured_index() == "http://of.pip/simple"
    uv.write_text('[[index]]\nurl = "http://of.uv/simple"\ndefault = true\n')
    assert fetch_uv.configured_index() == "http://of.uv/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "named=http://variable/simple")
    assert fetch_uv.configured_index() == "http://variable/simple"


def test_a_file_with_another_hash_is_not_used(lock: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "files" / NAME).write_bytes(b"something else")
    done = fetch(lock, tmp_path / "uv")
    assert done.returncode == 1
    assert "another hash" in done.stderr
    assert not (tmp_path / "uv").exists()


def test_without_network_it_is_one_sentence(lock: Path, tmp_path: Path) -> None:
    done = fetch(lock, tmp_path / "uv", UV_DEFAULT_INDEX="http://127.0.0.1:1/simple")
    assert done.returncode == 1
    assert done.stderr.startswith("dev: uv could not be fetched: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_lock_file_of_this_checkout_has_a_uv_for_this_machine() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    wheels = next(each["wheels"] for each in lock["package"] if each["name"] == "uv")
    assert fetch_uv.best_wheel(wheels) is not None
    assert 20e6 < fetch_uv.download_size(lock) < 1e9


@pytest.mark.parametrize(
    ("libc", "names", "best"),
    [
        (
            ("glibc", "2.36"),
            ["manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_99_x86_64"],
            1,
        ),
        (("", ""), ["manylinux_2_17_x86_64", "musllinux_1_1_x86_64"], 1),
        (("glibc", "2.17"), ["musllinux_1_1_x86_64", "manylinux_2_17_aarch64"], None),
    ],
)
def test_the_wheel_that_fits_the_machine_is_chosen(
    monkeypatch: pytest.MonkeyPatch, libc: tuple[str, str], names: list[str], best: int | None
) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    wheels = [{"url": f"https://files.example/uv-1-py3-none-{name}.whl"} for name in names]
    assert fetch_uv.best_wheel(wheels) == (None if best is None else wheels[best])
