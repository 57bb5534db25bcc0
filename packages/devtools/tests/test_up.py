"""`./dev up` on a terminal, and every way in which it ends."""

import signal
import socket

import psutil
from local_system import System, interrupt, is_free


def wait_until_gone(system: System) -> list[psutil.Process]:
    alive: list[psutil.Process] = psutil.wait_procs(system.processes(), timeout=10)[1]
    return alive


def test_ctrl_c_ends_everything_in_order(system: System) -> None:
    """And what is missing where a service is left out was explained before."""
    process, said = system.up_attached("--only=users")
    assert "users runs without auth" in said
    assert is_free(system.port("auth"))
    said = interrupt(process)
    assert process.returncode == 0
    assert "Everything has ended" in said
    assert system.processes() == []


def test_killed_it_takes_everything_with_it(system: System) -> None:
    process, _ = system.up_attached("--only=users", "--workers=2", "--no-reload")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert wait_until_gone(system) == []
    assert system.dev("status").returncode == 3


def test_a_taken_port_is_named_with_its_service(system: System) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", system.port("users")))
        taken.listen()
        done = system.up()
    assert done.returncode == 1
    assert f"Port {system.port('users')}, which users needs, is taken" in done.said
    assert system.processes() == []


def test_a_database_url_that_nobody_answers_is_one_sentence(system: System) -> None:
    done = system.up(DATABASE_URL="postgresql://me:secret@127.0.0.1:1/postgres")
    assert done.returncode == 1
    assert "PostgreSQL at postgresql://me@127.0.0.1:1/postgres cannot be reached." in done.said
    assert "secret" not in done.said
    assert system.processes() == []


def test_fresh_refuses_to_empty_somebody_elses_server(system: System) -> None:
    done = system.up("--fresh", DATABASE_URL="postgresql://me@127.0.0.1:1/postgres")
    assert done.returncode == 1
    assert "unset DATABASE_URL" in done.said


def test_an_unknown_service_is_answered_with_those_there_are(system: System) -> None:
    done = system.dev("up", "--only=usres")
    assert done.returncode == 2
    assert done.stderr.strip().startswith(
        "✗ There is no service usres; did you mean users? There are users"
    )
