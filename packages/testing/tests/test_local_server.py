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

from service_testing.errors import LocalServerError
from service_testing.local_server import LocalServer
from service_testing.ports import HOST, free_port
from service_testing.postgres import LocalPostgres
from service_testing.processes import launcher_command
from service_testing.valkey import LocalValkey

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


def test_another_process_finds_and_stops_a_detached_server(
    kind: type[LocalServer], tmp_path: Path
) -> None:
    port = free_port()
    program = (
        "from pathlib import Path\n"
        f"from {kind.__module__} import {kind.__name__}\n"
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
        f"from {kind.__module__} import {kind.__name__}\n"
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_a_program_below_a_closed_folder_is_told_that_it_may_execute_its_neighbours(
    tmp_path: Path,
) -> None:
    """As initdb asks about postgres in a checkout below the home of root."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    neighbour = closed / "postgres"
    neighbour.touch(mode=0o755)
    command = [
        *launcher_command(os.getpid(), signal.SIGKILL, "nobody", [neighbour]),
        "/usr/bin/env",
        "python3",
        "-c",
        f"import os; print(os.getuid() != 0 and os.access({str(neighbour)!r}, os.X_OK))",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout
    assert shown == "True\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to lose")
def test_a_server_in_an_open_folder_keeps_no_capability(tmp_path: Path) -> None:
    program = "import pathlib; print(pathlib.Path('/proc/self/status').read_text())"
    for paths, expected in ([Path("/usr/bin")], "0" * 16), ([tmp_path / "x"], f"{2:016x}"):
        command = [
            *launcher_command(os.getpid(), signal.SIGKILL, "nobody", paths),
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
