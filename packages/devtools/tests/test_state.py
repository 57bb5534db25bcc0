import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from devtools import state
from devtools.state import AlreadyRunningError, ServiceState, State


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))


def test_what_was_saved_is_found_by_others_while_it_runs() -> None:
    services = {"items": ServiceState(port=8002, pid=2)}
    saved = State(
        pid=1,
        phase="ready",
        services=services,
        job_workers={"items-worker": ServiceState(9002, pid=6)},
        receiver=ServiceState(4318, pid=3),
        gateway=ServiceState(8000, pid=4),
        page=ServiceState(20001, pid=5),
        https_port=8443,
    )
    with state.take():
        saved.save()
        assert state.running() == saved
    assert state.running() is None
    assert state.last() == saved


def test_only_one_can_run() -> None:
    with state.take(), pytest.raises(AlreadyRunningError, match=r"\./dev down"):
        state.take()
    state.take().close()


def test_programs_of_a_killed_run_are_ended_and_nothing_else() -> None:
    sleep = "import time; time.sleep(600)"
    service, worker, receiver, gateway, page, stranger = (
        subprocess.Popen([sys.executable, "-c", sleep, *words], start_new_session=True)
        for words in (
            ["service_platform.server", "items.app:create_app"],
            ["service_platform.worker", "items.app:create_app"],
            ["devtools.telemetry.receiver"],
            ["caddy run"],
            ["devtools.gateway.front_page"],
            ["something else"],
        )
    )
    try:
        services = {
            "items": ServiceState(1, pid=service.pid),
            "users": ServiceState(2, stranger.pid),
        }
        State(
            pid=1,
            services=services,
            job_workers={"items-worker": ServiceState(6, worker.pid)},
            receiver=ServiceState(3, receiver.pid),
            gateway=ServiceState(4, gateway.pid),
            page=ServiceState(5, page.pid),
        ).save()
        state.end_leftovers()
        assert service.wait(10) < 0
        assert all(each.wait(10) < 0 for each in (worker, receiver, gateway, page))
        assert psutil.pid_exists(stranger.pid)
        assert stranger.poll() is None
    finally:
        for process in (service, worker, receiver, gateway, page, stranger):
            process.kill()
            process.wait()
