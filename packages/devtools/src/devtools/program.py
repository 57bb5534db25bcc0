"""One program that `up` runs: its process, its output, whether it is ready."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.project import ROOT
from service_testing.processes import launcher_command

STOP_SECONDS: Final = 8.0
POLL_SECONDS: Final = 0.03
NOTICE_SECONDS: Final = 0.1
KEPT_LINES: Final = 60
CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True)
class Program:
    """What to run.

    Attributes:
        name: of the program, for people.
        command: program and arguments.
        environment: all of it.
        port: where it answers HTTP on 127.0.0.1.
        watched: folders whose Python files it is made of.
        after: programs that are ready before this one starts, where they run at all.
        ready_path: answers 200 as soon as it is ready.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    watched: tuple[Path, ...] = ()
    after: tuple[str, ...] = ()
    ready_path: str = "/health/ready"


class Process:
    """A program's present process; started and stopped any number of times.

    Args:
        program: what to run.
        say: gets each line of its output.

    Attributes:
        last_lines: the end of its output.
        reason: why it said that it is not ready, when it was last asked.
    """

    def __init__(self, program: Program, say: Callable[[str], None]) -> None:
        self.program = program
        self._say = say
        self._process: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.reason = ""

    @property
    def pid(self) -> int | None:
        """Of the process that lives."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process is not None else None

    async def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C reaches only us, and we end it in order.

        Should we be killed, the kernel kills it (Linux; see `launcher`).
        """
        self.last_lines.clear()
        self.reason = ""
        self._process = await asyncio.create_subprocess_exec(
            *launcher_command(os.getpid(), signal.SIGKILL, "-", []),
            *self.program.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self.program.environment),
            cwd=ROOT,
            start_new_session=True,
        )
        self._pump = asyncio.create_task(self._read(self._process))

    async def ended(self) -> int:
        """Wait until it ends; the exit status, negative for a signal."""
        assert self._process is not None  # noqa: S101 - asked only after a start
        process, pump = self._process, self._pump
        status = await _exit_status(process, NOTICE_SECONDS)
        if pump is not None:
            with contextlib.suppress(TimeoutError):  # a grandchild may hold the pipe open
                await asyncio.wait_for(asyncio.shield(pump), 1.0)
        return status

    async def ready(self) -> None:
        """Return when it answers that it is ready; for ever when it never does."""
        while not await self._answers():  # noqa: ASYNC110 - another process has no event of ours
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it in order, after a time with force, and everything it started."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(_exit_status(process, POLL_SECONDS), seconds)
            except TimeoutError:
                self._say(f"did not end within {seconds:g} s and was killed")
        self.kill()
        await self.ended()

    def kill(self) -> None:
        """End it and everything it started, at once."""
        if self._process is not None:
            # The group lives as long as anything in it does, with or without its first process.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        rest = b""
        while chunk := await process.stdout.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._heard(line)
            if len(rest) > CHUNK:
                self._heard(rest)
                rest = b""
        if rest:
            self._heard(rest)

    def _heard(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self.last_lines.append(text)
        self._say(text)

    async def _answers(self) -> bool:
        lines = (f"GET {self.program.ready_path} HTTP/1.1", "host: localhost", "connection: close")
        request = "".join(f"{line}\r\n" for line in (*lines, ""))
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.program.port)
                try:
                    writer.write(request.encode())
                    status = await reader.readline()
                    ready = status.split(b" ")[1:2] == [b"200"]
                    self.reason = "" if ready else _reason(await reader.read(CHUNK))
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return ready


def _reason(answer: bytes) -> str:
    """What an unready program gives as its reason; empty where it gives none."""
    try:
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
        return str(said["reason"])
    except (KeyError, TypeError, ValueError):
        return ""


async def _exit_status(process: asyncio.subprocess.Process, poll: float) -> int:
    """Wait for the process alone: asyncio's `wait` also waits for children that hold its output."""
    while process.returncode is None:  # noqa: ASYNC110 - asyncio tells nobody
        await asyncio.sleep(poll)
    return process.returncode


def python(*arguments: str) -> tuple[str, ...]:
    """A command that runs this Python."""
    return (sys.executable, *arguments)


def status_in_words(status: int) -> str:
    """An exit status for people."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
