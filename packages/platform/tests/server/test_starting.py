"""Starts that cannot succeed end with one clear sentence."""

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service_platform.server.__main__ import main
from service_platform.server.listening import listen
from service_testing.services import without_env_file

HERE = Path(__file__).parent


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "service_platform.server", *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE / "support"), "HOST": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """What a start says that ends before it serves; in this process, a new one takes a second."""
    without_env_file(monkeypatch)
    monkeypatch.chdir(HERE)
    monkeypatch.syspath_prepend(HERE / "support")

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 1
        return capsys.readouterr().err

    yield run
    gc.enable()  # which a server does when it serves


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("waiting:make", "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"Port {port} is taken by another process; stop it or set PORT to a free one.\n"
    )


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nowhere.app:make", "There is no module 'nowhere'"),
        ("waiting:nothing", "The module 'waiting' has no function 'nothing'."),
        ("waiting", "is not of the form module:function"),
    ],
)
def test_an_application_that_is_not_there_is_told(
    said: Callable[..., str], path: str, sentence: str
) -> None:
    assert sentence in said(path, "--port", "0")


def test_wrong_settings_end_with_their_own_status() -> None:
    ended = run("waiting:make", "--port", "0", ENVIRONMENT="production", LOG_LEVEL="loud")
    assert ended.returncode == 78
    assert "SECRET_KEY" in ended.stderr
    assert "LOG_LEVEL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_only_a_person_can_mend_ends_the_start_at_once() -> None:
    ended = run("waiting:make_broken", "--port", "0")
    assert ended.returncode == 78
    assert "The key does not fit: set the one that does.\n" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_an_address_of_another_machine_is_told(said: Callable[..., str]) -> None:
    assert "Cannot listen on 203.0.113.9" in said(
        "waiting:make", "--host", "203.0.113.9", "--port", "0"
    )


def test_the_path_of_the_gunicorn_configuration_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--gunicorn-conf"]) == 0
    printed = capsys.readouterr()
    assert Path(printed.out.rstrip("\n")).is_file()
    assert printed.out.endswith("gunicorn.conf.py\n")
    assert printed.err == ""


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_the_unspecified_address_takes_ipv6_and_ipv4() -> None:
    (listener,) = listen("::", 0)
    with listener:
        port = listener.getsockname()[1]
        for host in "127.0.0.1", "::1":
            socket.create_connection((host, port), timeout=5).close()
