import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service_testing.local_servers import (
    HOST,
    LocalPostgres,
    LocalServer,
    LocalServerError,
    LocalValkey,
    free_port,
    launcher,
)

NO_RETRY = Retry(NoBackoff(), 0)
KINDS = [LocalPostgres, LocalValkey]


def make(kind: Any, folder: Path, **options: Any) -> LocalServer:
    made: LocalServer = kind(folder / "data", durable=False, **options)
    return made


@pytest.fixture(params=KINDS, ids=lambda kind: kind.product)
def kind(request: pytest.FixtureRequest) -> type[LocalServer]:
    chosen: type[LocalServer] = request.param
    return chosen


@pytest.fixture
def server(kind: type[LocalServer], tmp_path: Path) -> Iterator[LocalServer]:
    made = make(kind, tmp_path)
    yield made
    made.remove()


@pytest.fixture
def initialised(blank_postgres: Path, tmp_path: Path) -> Path:
    """A folder in which a PostgreSQL has only to start."""
    LocalPostgres(tmp_path / "data", copy_of=blank_postgres).initialise()
    return tmp_path


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def wait_until(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_it_starts_stops_and_leaves_no_process_and_no_port(server: LocalServer) -> None:
    server.start()
    pid = server.pid
    assert pid is not None
    assert is_open(server.port)
    server.start()
    assert server.pid == pid
    server.stop()
    assert not server.running
    assert not is_open(server.port)
    assert not is_alive(pid)
    server.stop()


@pytest.mark.usefixtures("initialised")
def test_it_starts_again_after_a_kill(server: LocalServer) -> None:
    server.start()
    for _ in range(3):
        pid = server.pid
        server.kill()
        assert not server.running
        server.start()
        assert server.pid != pid
        assert is_open(server.port)


def test_a_taken_port_is_told_in_one_sentence(server: LocalServer) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, server.port))
        taken.listen()
        with pytest.raises(LocalServerError) as caught:
            server.start()
    assert f"port {server.port} is taken" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not server.running


def test_a_directory_that_cannot_be_made_is_told(kind: type[LocalServer], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalServerError, match="cannot be made"):
        make(kind, tmp_path / "file").start()


def test_a_server_that_ends_while_starting_is_told_with_its_reason(tmp_path: Path) -> None:
    server = LocalPostgres(tmp_path / "data", durable=False, settings={"no_such_setting": "1"})
    with pytest.raises(LocalServerError, match=r"ended while starting.*no_such_setting"):
        server.start()


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(LocalServerError, match="was made by PostgreSQL 9"):
        LocalPostgres(tmp_path / "data").start()


def test_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(LocalServerError, match=r"valkey-server is not in the package .*pdp11"):
        LocalValkey(tmp_path / "data").start()


def test_another_process_finds_and_stops_a_detached_server(
    kind: type[LocalServer], tmp_path: Path
) -> None:
    port = free_port()
    program = (
        "from pathlib import Path\n"
        f"from service_testing.local_servers import {kind.__name__}\n"
        f"{kind.__name__}(Path({str(tmp_path)!r}) / 'data', port={port}, detached=True).start()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    server = make(kind, tmp_path, port=port)
    assert server.running
    assert is_open(port)
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    assert not is_open(port)
    assert server.pid is None
    server.remove()


@pytest.mark.usefixtures("initialised")
@pytest.mark.parametrize("way", ["exit", "SIGKILL", "SIGTERM"])
def test_a_server_ends_with_the_process_that_started_it(
    kind: type[LocalServer], tmp_path: Path, way: str
) -> None:
    program = (
        "import sys, threading, time\n"
        f"from service_testing.local_servers import {kind.__name__}\n"
        f"server = {kind.__name__}({str(tmp_path / 'data')!r}, durable=False)\n"
        # In a thread that ends at once: the server must not end with it.
        "thread = threading.Thread(target=server.start); thread.start(); thread.join()\n"
        "time.sleep(0.3)\n"
        "print(server.pid, server.port, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    pid, port = map(int, starter.stdout.readline().split())
    assert is_alive(pid)
    assert is_open(port)
    if way == "exit":
        starter.stdin.write("\n")
        starter.stdin.flush()
    else:
        starter.send_signal(signal.Signals[way])
    starter.wait()
    starter.stdin.close()
    starter.stdout.close()
    wait_until(lambda: not is_alive(pid))
    wait_until(lambda: not is_open(port))


def test_a_recorded_process_id_of_some_other_program_is_not_believed(server: LocalServer) -> None:
    server.data_dir.mkdir()
    stale = {"PostgreSQL": "postmaster.pid", "Valkey": "valkey.pid"}[server.product]
    (server.data_dir / stale).write_text(f"{os.getpid()}\n")
    assert server.pid is None
    server.stop()


def test_a_paused_server_keeps_connections_open_and_does_not_answer(tmp_path: Path) -> None:
    with LocalValkey(tmp_path / "data", durable=False) as server:
        client = redis.Redis(port=server.port, socket_timeout=0.2, retry=NO_RETRY)
        client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        assert client.ping()
        client.close()


def test_postgres_demands_its_password_over_scram(tmp_path: Path) -> None:
    with LocalPostgres(tmp_path / "data", password="p'ss w/rd:1", durable=False) as server:
        assert server.execute("SELECT 1") == "1"
        assert server.execute("SHOW password_encryption") == "scram-sha-256"
        assert "trust" not in (server.data_dir / "pg_hba.conf").read_text().split("# TYPE")[1]
        other = LocalPostgres(server.data_dir, port=server.port, password="wrong")
        with pytest.raises(LocalServerError, match="password authentication failed"):
            other.execute("SELECT 1")
        assert "p'ss" not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_a_role_owns_its_own_database_and_enters_no_other(initialised: Path) -> None:
    with LocalPostgres(initialised / "data", durable=False) as server:
        for name in ("items", "users"):
            server.create_role(name, "first")
            server.create_role(name, "second")
            assert server.create_database(name, owner=name)
            assert not server.create_database(name, owner=name)
        own = server.url_for("items", user="items", password="second")
        assert server.execute("SELECT 1", url=own) == "1"
        server.execute("CREATE TABLE t (id int)", url=own)
        with pytest.raises(LocalServerError, match="permission denied for database"):
            server.execute("SELECT 1", url=server.url_for("users", user="items", password="second"))
        with pytest.raises(LocalServerError, match="authentication failed"):
            server.execute("SELECT 1", url=server.url_for("items", user="items", password="first"))
        server.drop_database("items")
        server.drop_database("items")


@pytest.mark.parametrize("durable", [True, False])
def test_committed_rows_survive_a_restart_and_a_kill(tmp_path: Path, durable: bool) -> None:
    server = LocalPostgres(tmp_path / "data", durable=durable)
    server.start()
    server.execute("CREATE TABLE t (id int)")
    server.execute("INSERT INTO t VALUES (1)")
    server.restart()
    server.execute("INSERT INTO t VALUES (2)")
    server.kill()
    server.start()
    assert server.execute("SELECT count(*) FROM t") == "2"
    assert server.execute("SHOW fsync") == ("on" if durable else "off")
    server.remove()


def test_a_durable_valkey_keeps_its_values_and_another_does_not(tmp_path: Path) -> None:
    for durable, expected in ((True, b"1"), (False, None)):
        server = LocalValkey(tmp_path / str(durable), durable=durable)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "1")
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == expected
        server.remove()


def test_valkey_demands_a_password_when_it_has_one(tmp_path: Path) -> None:
    with LocalValkey(tmp_path / "data", password="s3/cret:1", durable=False) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with (
            redis.Redis(port=server.port, retry=NO_RETRY) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        assert "s3/cret" not in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert stat.S_IMODE((server.data_dir / "valkey.conf").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_runs_a_server_as_somebody_else_also_below_a_closed_folder(
    kind: type[LocalServer], tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = make(kind, closed)
    server.start()
    status = Path(f"/proc/{server.pid}/status").read_text()
    assert f"Uid:\t{pwd.getpwnam('nobody').pw_uid}\t" in status
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    server.restart()
    server.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_a_server_in_an_open_folder_keeps_no_capability(tmp_path: Path) -> None:
    program = "import pathlib; print(pathlib.Path('/proc/self/status').read_text())"
    for paths, expected in ([Path("/usr/bin")], "0" * 16), ([tmp_path / "x"], f"{2:016x}"):
        command = [
            *launcher(os.getpid(), signal.SIGKILL, "nobody", paths),
            "/usr/bin/env",
            "python3",
            "-c",
            program,
        ]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout
        assert f"CapEff:\t{expected}" in shown
        assert "Groups:\t \n" in shown


def test_a_free_port_is_given_to_one_only_and_never_to_an_outgoing_connection() -> None:
    found = [free_port() for _ in range(100)]
    assert len(set(found)) == 100
    assert max(found) < 32_768  # where Linux' begin, unless somebody has changed that


def test_many_threads_may_start_servers_at_once(tmp_path: Path) -> None:
    servers = [LocalValkey(tmp_path / str(number), durable=False) for number in range(4)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(server.running for server in servers)
    for server in servers:
        server.remove()
