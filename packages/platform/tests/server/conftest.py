"""Starts real server processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from service_platform.testing.local_servers import free_port

HERE = Path(__file__).parent


@dataclass
class Running:
    """A server process and its address."""

    process: "subprocess.Popen[str]"
    url: str
    port: int

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(20)


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server command; `{port}` in its arguments is a free port."""
    started: list[Running] = []

    def run(*command: str, **environment: str) -> Running:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in command)],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": str(HERE), "PORT": str(port), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running = Running(process, f"http://127.0.0.1:{port}", port)
        started.append(running)
        wait_until_ready(running)
        return running

    yield run
    for running in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.communicate()


def wait_until_ready(running: Running) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            if httpx2.get(f"{running.url}/health/startup").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.02)
    running.process.kill()
    pytest.fail(f"did not start: {running.process.communicate()[1]}")
