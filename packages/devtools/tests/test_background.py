"""`./dev up --detach` and the commands that look at what it started."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from dotenv import dotenv_values
from journeys import journeys, require_answers
from local_system import System, is_free

from devtools.addresses import url_of
from devtools.api_collections import collections_to_fill
from devtools.credentials import Credentials
from devtools.services import SERVICES, chosen
from service_testing.postgres import LocalPostgres
from service_testing.services import CHEAP_HASHES
from service_testing.valkey import LocalValkey


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, object] = json.loads(answer.read())
    return found


@pytest.fixture(scope="module")
def before(system: System) -> str:
    """The secrets of a system that has data; a command without a running system has made both."""
    done = system.dev("migrate", "up", "users")
    assert done.returncode == 0, done.stderr
    assert system.processes() == []
    (system.state_dir / "data" / "postgres" / "mark").touch()
    return (system.state_dir / "secrets.json").read_text()


@pytest.fixture(scope="module")
def up(system: System, before: str) -> Iterator[str]:
    # Without reload, as the checkout may be edited meanwhile.
    done = system.up("--no-reload", "--fresh", **CHEAP_HASHES)
    assert done.returncode == 0, done.stdout + done.stderr
    yield done.stdout
    system.dev("down")


def test_a_command_starts_servers_for_itself_where_none_run(system: System, before: str) -> None:
    done = system.dev("migrate", "up", "users")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert system.processes() == []


def test_it_returns_when_every_service_is_ready(system: System, up: str) -> None:
    for service in SERVICES:
        url = f"http://localhost:{system.port(service.name)}"
        assert get(f"{url}/health")["status"] == "healthy"
        assert f"{url}/docs" in up
    assert "Ready in" in up


def test_fresh_begins_with_empty_databases(system: System, before: str, up: str) -> None:
    assert not (system.state_dir / "data" / "postgres" / "mark").exists()
    assert (system.state_dir / "secrets.json").read_text() != before


def test_a_second_up_says_that_it_runs(system: System, up: str) -> None:
    for arguments in (("--detach",), ()):
        done = system.dev("up", *arguments)
        assert done.returncode == 1
        assert "already running" in done.stderr
        assert "./dev down" in done.stderr


def test_status_names_services_and_servers(system: System, up: str) -> None:
    done = system.dev("status")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("healthy") == len(SERVICES)
    assert "PostgreSQL" in done.stdout
    assert "Valkey" in done.stdout


def test_logs_are_of_the_service_that_is_asked_for(system: System, up: str) -> None:
    done = system.dev("logs", "users")
    assert "listening" in done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"users"}


def test_no_password_is_shown(system: System, up: str) -> None:
    secrets = json.loads((system.state_dir / "secrets.json").read_text())
    shown = up + system.dev("status").stdout + system.dev("logs").stdout
    assert not [name for name, secret in secrets.items() if secret in shown]
    for name in ("secrets.json", "run/state.json"):
        assert (system.state_dir / name).stat().st_mode & 0o077 == 0


def test_operators_commands_work_on_it(system: System, up: str) -> None:
    assert "ES256" in system.dev("auth", "list-keys").stdout
    assert "users" in system.dev("events", "status").stdout


def test_seeding_twice_makes_nothing_twice(system: System, up: str) -> None:
    names = [each.name for found in collections_to_fill().values() for each in found]
    first = system.dev("seed", "--rows", "3")
    assert first.returncode == 0, first.said
    assert [name for name in names if f"36 {name} made" not in first.stdout] == []
    second = system.dev("seed", "--rows", "3")
    assert [name for name in names if f"0 {name} made, 36 wanted" not in second.stdout] == []
    assert "admin@demo.example.com" in second.stdout


def test_the_demo_can_be_run_again_and_again(system: System, up: str) -> None:
    collections = [each for found in collections_to_fill().values() for each in found]
    titles = [each.create.title for each in collections]
    changes = [each for each in collections if "change" in each.further]
    for _ in range(2):
        done = system.dev("demo")
        assert done.returncode == 0, done.said
        assert "requests, all as expected" in done.stdout
        assert [title for title in titles if title not in done.stdout] == []
        assert done.stdout.count("expected 412: stale") == 1 + len(changes)
        assert "correct horse battery" not in done.stdout


def test_the_commands_of_the_readmes_answer_what_they_say(system: System, up: str) -> None:
    parts = journeys()
    # In one shell: those of a service go on where those of README end.
    commands = "".join(commands for commands, _ in parts)
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", commands.replace(":8000/", f":{8000 + system.offset}/")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    require_answers("".join(answers for _, answers in parts), done.stdout)


def test_psql_opens_the_database_of_a_service_as_its_role(system: System, up: str) -> None:
    done = system.dev("psql", "users", "-XtA", "-c", "SELECT current_user, current_database()")
    assert (done.returncode, done.stdout) == (0, "users|users\n"), done.stderr
    assert system.dev("psql", "users", "-c", "SELECT nonsense").returncode == 1


def test_env_prints_what_a_shell_and_a_dotenv_file_can_read(
    system: System, up: str, tmp_path: Path
) -> None:
    done = system.dev("env", "users", "--show-secrets")
    (tmp_path / ".env").write_text(done.stdout)
    shown = subprocess.run(
        ["/bin/sh", "-c", f'eval "$(cat {tmp_path}/.env)"; printf %s "$PORT $DATABASE_URL"'],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    values = dotenv_values(tmp_path / ".env")
    assert shown == f"{values['PORT']} {values['DATABASE_URL']}"
    assert values["PORT"] == str(system.port("users"))
    hidden = system.dev("env", "users").stdout
    assert str(values["DATABASE_URL"]) not in hidden
    assert str(values["SECRET_KEY"]) not in hidden
    assert "# export DATABASE_URL=" in hidden


def test_a_migration_that_waits_is_named_until_it_is_run(
    system: System, up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.dev("psql", "users", "-c", "UPDATE alembic_version SET version_num = '0001'")
    deadline = time.monotonic() + 20
    while "its database lacks 0002_events" not in (said := system.dev("status")).stdout:
        assert time.monotonic() < deadline, said
    assert "./dev migrate up users" in said.stdout
    assert said.returncode == 1
    system.dev("psql", "users", "-c", "UPDATE alembic_version SET version_num = '0002'")


def test_servers_that_were_killed_are_started_again(system: System, up: str) -> None:
    state = json.loads((system.state_dir / "run" / "state.json").read_text())
    for pid in state["servers"].values():
        os.kill(pid, signal.SIGKILL)
    said = system.dev("status").stdout
    assert "has ended" in said or "database_unavailable" in said
    deadline = time.monotonic() + 30
    while system.dev("status").returncode != 0:
        assert time.monotonic() < deadline
    assert (
        "Valkey has ended and is started again."
        in (system.state_dir / "logs" / "dev.log").read_text()
    )


async def test_each_service_has_a_database_that_others_cannot_enter(
    system: System, up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(system.state_dir))
    state = json.loads((system.state_dir / "run" / "state.json").read_text())
    own = url_of(chosen(["users"])[0], state["postgres_url"], Credentials())
    connection = await asyncpg.connect(own)
    assert await connection.fetchval("SELECT count(*) FROM profiles") >= 0
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(own.rpartition("/")[0] + "/auth")


def test_migrations_stand_where_the_code_does(system: System, up: str) -> None:
    done = system.dev("migrate", "status", "users", "auth")
    assert done.stdout.count("0 to run") == 2


def test_models_and_migrations_agree(system: System, up: str) -> None:
    done = system.dev("migrate", "new", "users", "nothing")
    assert done.returncode == 0, done.stderr
    assert "nothing written" in done.stdout


def test_followed_logs_end_when_everything_has(system: System, up: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with seen.open("w") as file:
        following = subprocess.Popen(
            system.command("logs", "--follow", "--lines=0", "users"),
            env=system.environment,
            stdout=file,
        )
    url = f"http://localhost:{system.port('users')}/api/v1/users/me"
    deadline = time.monotonic() + 20
    while "GET /api/v1/users/me" not in seen.read_text():
        assert time.monotonic() < deadline
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(url, timeout=10)
        time.sleep(0.05)
    assert following.poll() is None
    assert system.dev("down").returncode == 0
    assert following.wait(20) == 0


def test_down_leaves_no_process_and_no_open_port(system: System, up: str) -> None:
    if system.dev("status").returncode == 0:  # the test before this one ended it, where it ran
        assert system.dev("down").returncode == 0
    assert system.processes() == []
    assert all(is_free(system.port(service.name)) for service in SERVICES)
    again = system.dev("down")
    assert (again.returncode, again.stdout.strip()) == (0, "Nothing is running.")
    assert system.dev("status").returncode == 3


def test_a_service_that_does_not_start_stops_the_rest_and_status_says_why(system: System) -> None:
    done = system.up("--only=users", EVENTS_BATCH_SIZE="none")
    assert done.returncode == 1
    assert "EVENTS_BATCH_SIZE: input should be a valid integer" in done.stderr
    assert "Traceback" not in done.said
    assert system.processes() == []
    shown = system.dev("status")
    assert shown.returncode == 3
    assert "It has ended: Settings are not valid" in shown.stdout


def test_a_redis_that_does_not_answer_is_told_with_what_that_means(system: System) -> None:
    done = system.up("--only=users", "--no-reload", REDIS_URL="redis://:secret@127.0.0.1:1/0")
    assert done.returncode == 0, done.said
    assert "Redis at redis://127.0.0.1:1/0 (REDIS_URL) does not answer" in done.stdout
    assert "secret" not in done.said
    shown = system.dev("status").stdout
    assert "users       redis: redis_unavailable" in shown
    assert any(line.split()[:2] == ["users", "degraded"] for line in shown.splitlines())
    system.dev("down")


def test_servers_that_variables_name_are_used(
    system: System, own_postgres: LocalPostgres, own_redis: LocalValkey
) -> None:
    shutil.rmtree(system.state_dir / "data")
    done = system.up(
        "--only=users", "--no-reload", DATABASE_URL=own_postgres.url, REDIS_URL=own_redis.url
    )
    assert done.returncode == 0, done.stdout
    assert get(f"http://localhost:{system.port('users')}/health/ready") == {"status": "ready"}
    assert "not started here" in system.dev("status").stdout
    assert not (system.state_dir / "data").exists()
    assert own_postgres.execute("SELECT datname FROM pg_database WHERE datname = 'users'")
    system.dev("down")
    assert own_postgres.running
