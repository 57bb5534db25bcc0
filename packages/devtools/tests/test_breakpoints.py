"""`breakpoint()` in a program that runs as a service does."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import os
from devtools.breakpoints import listen
if "DEV_DEBUG_PORT" in os.environ:
    listen()
def route():
    answer = 41
    breakpoint()
    answer += 1
    return answer
print(route(), flush=True)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    (tmp_path / "program.py").write_text(PROGRAM)
    started: list[subprocess.Popen[str]] = []

    def start(**environment: str) -> "subprocess.Popen[str]":
        hook = {"PYTHONBREAKPOINT": "devtools.breakpoints.breakpoint_reached"}
        process = subprocess.Popen(
            [sys.executable, "-X", "frozen_modules=off", "program.py"],
            cwd=tmp_path,
            env={**os.environ, **hook, "PROJECT_NAME": "users", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Client:
    """As much of the debug adapter protocol as an editor needs to stop and go on."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")
        self._sequence = 0

    def send(self, command: str, **arguments: object) -> None:
        self._sequence += 1
        content = json.dumps(
            {"seq": self._sequence, "type": "request", "command": command, "arguments": arguments}
        ).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))

    def messages(self) -> Iterator[dict[str, Any]]:
        while line := self._file.readline():
            length = int(line.partition(b":")[2])
            self._file.readline()
            yield json.loads(self._file.read(length))

    def wait_for(self, name: str) -> dict[str, Any]:
        return next(
            each for each in self.messages() if name in {each.get("event"), each.get("command")}
        )

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def test_without_a_debugger_it_is_passed_over_and_says_how_to_get_one(
    program: Callable[..., "subprocess.Popen[str]"],
) -> None:
    said, explained = program().communicate(timeout=60)
    assert said == "42\n"
    assert explained == (
        "breakpoint() at program.py:8 is passed over; ./dev up --debug users stops there\n"
    )


def test_it_waits_for_a_debugger_and_stops_where_it_was_called(
    program: Callable[..., "subprocess.Popen[str]"], free_port: Callable[[], int]
) -> None:
    port = free_port()
    process = program(DEV_DEBUG_PORT=str(port))
    assert process.stderr is not None
    waiting = next(line for line in process.stderr if "breakpoint()" in line)
    assert waiting == f"breakpoint() at program.py:8 waits for a debugger on 127.0.0.1:{port}\n"
    time.sleep(0.2)
    assert process.poll() is None
    client = Client(port)
    client.send("initialize", adapterID="test")
    client.send("attach", justMyCode=True)
    client.wait_for("initialized")
    client.send("configurationDone")
    thread = client.wait_for("stopped")["body"]["threadId"]
    client.send("stackTrace", threadId=thread)
    top = client.wait_for("stackTrace")["body"]["stackFrames"][0]
    assert (top["name"], Path(top["source"]["path"]).name) == ("route", "program.py")
    client.send("continue", threadId=thread)
    client.send("disconnect")
    said, _ = process.communicate(timeout=60)
    client.close()
    assert said == "42\n"
