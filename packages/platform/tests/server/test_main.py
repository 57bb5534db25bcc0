"""The command line of the server."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from service_platform.server.__main__ import main

RunServer = Callable[..., "CompletedProcess[str]"]


def test_wrong_settings_end_with_their_own_status(run_server: RunServer) -> None:
    ended = run_server("waiting:make", "--port", "0", ENVIRONMENT="production", LOG_LEVEL="loud")
    assert ended.returncode == 78
    assert "SECRET_KEY" in ended.stderr
    assert "LOG_LEVEL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_path_of_the_gunicorn_configuration_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--gunicorn-conf"]) == 0
    printed = capsys.readouterr()
    assert Path(printed.out.rstrip("\n")).is_file()
    assert printed.out.endswith("gunicorn.conf.py\n")
    assert printed.err == ""
