"""The gateway of `./dev up` and its front page before the services that run for the tests."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from tests.e2e.browser import Browser, Page, find_browser
from tests.e2e.system import SERVICES, StartedSystem, System

from devtools.gateway import starting
from devtools.program import Program
from devtools.state import ServiceState, State
from service_testing.plugin import servers_of
from service_testing.ports import free_port

START_SECONDS = 30.0


@pytest.fixture(scope="module")
def gateway(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The services as they are reached through it."""
    if not isinstance(system, StartedSystem):
        pytest.skip("Needs services that were started for this test.")
    folder = tmp_path_factory.mktemp("gateway")
    ports = {name: urlsplit(system.urls[name]).port or 0 for name in SERVICES}
    state = State(
        pid=os.getpid(),
        phase="ready",
        services={name: ServiceState(port, state="ready") for name, port in ports.items()},
        gateway=ServiceState(free_port()),
        page=ServiceState(free_port()),
    )
    url = f"http://localhost:{state.program('gateway').port}"
    with pytest.MonkeyPatch.context() as patch, ExitStack() as started:
        patch.setenv("DEV_STATE_DIR", str(folder))
        state.save()
        for program in starting.programs(state):
            started.enter_context(_running(program, folder / f"{program.name}.log"))
        yield System(dict.fromkeys(SERVICES, url), behind_gateway=True)


@contextmanager
def _running(program: Program, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            program.command, env=dict(program.environment), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(f"http://localhost:{program.port}{program.ready_path}"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _is_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def page(gateway: System, pytestconfig: pytest.Config) -> Iterator[Page]:
    folder = servers_of(pytestconfig).directory / f"browser-gateway-{os.getpid()}"
    with Browser(str(find_browser()), folder) as browser, browser.page() as opened:
        yield opened
