"""A worker runs beside a service that has a module `jobs`."""

from pathlib import Path

import pytest

from devtools import forward, services
from devtools.errors import CommandError, UsageError
from devtools.run import Run, Wishes
from devtools.services import AUTH, service_of
from devtools.state import ServiceState
from devtools.terminal import Terminal, job_workers


@pytest.fixture
def with_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace in which auth has jobs."""
    folder = tmp_path / "services" / "auth" / "src" / "auth"
    folder.mkdir(parents=True)
    (folder / "jobs.py").touch()
    monkeypatch.setattr(services, "ROOT", tmp_path)


def test_a_service_without_jobs_has_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "ROOT", tmp_path)
    assert AUTH.worker == ""


def test_a_worker_has_the_services_name_and_environment(
    with_jobs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    assert AUTH.worker == "auth-worker"
    assert service_of("auth-worker") == service_of("auth") == "auth"
    run = Run(Terminal(), Wishes(services=(AUTH,)), background=True)
    run._state.postgres_url = "postgresql://postgres@127.0.0.1:1/postgres"
    run._state.job_workers = {"auth-worker": ServiceState(9003)}
    program = run._worker(AUTH)
    assert program.command[-2:] == ("service_platform.worker", "auth.app:create_app")
    assert (program.port, program.environment["PORT"]) == (9003, "9003")
    assert program.environment["DATABASE_URL"].endswith("/auth")
    assert program.after == ("auth",)
    run._changed("auth-worker", "ready", 7)
    [line] = job_workers(run._state)
    assert line.plain == "  Jobs        auth-worker  process 7"


class Arguments:
    """What typer hands on."""

    def __init__(self, *args: str) -> None:
        self.args = list(args)


def test_without_any_jobs_the_command_says_how_to_add_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "ROOT", tmp_path)
    with pytest.raises(CommandError, match=r"docs/jobs\.md"):
        forward.jobs(Arguments())  # type: ignore[arg-type]


def test_a_service_that_has_no_jobs_is_named(with_jobs: None) -> None:
    with pytest.raises(UsageError, match=r"There is no service with jobs users"):
        forward.jobs(Arguments("users"))  # type: ignore[arg-type]
