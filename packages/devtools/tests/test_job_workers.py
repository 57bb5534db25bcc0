"""A worker runs beside a service that declares one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer import Exit

from devtools import forward
from devtools.errors import CommandError, UsageError
from devtools.run import Run, Wishes
from devtools.services import AUTH, Service, service_of
from devtools.state import ServiceState
from devtools.terminal import Terminal, job_workers

WITH_JOBS = Service(AUTH.declaration.model_copy(update={"worker": True}), "cyan")
WITHOUT = Service(AUTH.declaration.model_copy(update={"worker": False}), "cyan")


def test_a_service_without_jobs_has_no_worker() -> None:
    assert WITHOUT.worker == ""


def test_a_worker_has_the_services_name_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    assert WITH_JOBS.worker == "auth-worker"
    assert service_of("auth-worker") == service_of("auth") == "auth"
    run = Run(Terminal(), Wishes(services=(WITH_JOBS,)), background=True)
    run._state.postgres_url = "postgresql://postgres@127.0.0.1:1/postgres"
    run._state.job_workers = {"auth-worker": ServiceState(9003)}
    program = run._worker(WITH_JOBS)
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


def test_without_any_jobs_the_command_says_how_to_add_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SERVICES", (WITHOUT,))
    with pytest.raises(CommandError, match=r"docs/jobs\.md"):
        forward.jobs(Arguments())  # type: ignore[arg-type]


def test_a_service_that_has_no_jobs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SERVICES", (WITH_JOBS,))
    with pytest.raises(UsageError, match=r"There is no service with jobs users"):
        forward.jobs(Arguments("users"))  # type: ignore[arg-type]


OTHER = Service(AUTH.declaration.model_copy(update={"name": "other", "worker": True}), "cyan")


def test_of_several_services_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SERVICES", (WITH_JOBS, OTHER))
    with pytest.raises(UsageError, match=r"such as \./dev jobs auth retry --all\."):
        forward.jobs(Arguments("retry", "--all"))  # type: ignore[arg-type]


def test_the_only_service_with_jobs_need_not_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    @contextmanager
    def system(services: Sequence[Service]) -> Iterator[dict[Service, dict[str, str]]]:
        yield {service: {} for service in services}

    def run(module: str, arguments: Sequence[str], environment: object = None) -> int:
        ran.append((module, *arguments))
        return 0

    monkeypatch.setattr(forward, "SERVICES", (WITHOUT, WITH_JOBS))
    monkeypatch.setattr(forward, "dev_system", system)
    monkeypatch.setattr(forward, "_run", run)
    with pytest.raises(Exit):
        forward.jobs(Arguments("run", "clean", "--arg", "days=3"))  # type: ignore[arg-type]
    assert ran == [
        ("service_platform.jobs", "auth.app:create_app", "run", "clean", "--arg", "days=3")
    ]
