"""Runs Python programs in forks of a process that has imported the packages services are made of.

A service needs most of a second of processor time for these imports, a fork has them for less than
a tenth of that. What is forked is a process like any other: its own signals, settings, output and
end. Started and spoken to by `programs`; like `launcher`, it is a program of its own, so that
nothing of the tests' process (threads, patches, settings) is in what it forks.

On the socket that is its standard input it receives for each program the length of a JSON object as
`NUMBER`, with two descriptors, and the object, which has the members of `Program`. What the program
prints goes to the first descriptor; on the second the process id is written at once, the exit
status (of `os.waitstatus_to_exitcode`) in the end, both as `NUMBER`.

Usage: `python -m service_testing.fork_server`
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from service_testing.launcher import die_with

PRELOADED: Final = (
    "service_platform.server.workers",
    "service_platform.app",
    "service_platform.database",
    "service_platform.events",
    "service_platform.http_client",
    "service_platform.idempotency",
    "service_platform.identity",
    "service_platform.pagination",
    "service_platform.ratelimit",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.orm",
)
NUMBER: Final = struct.Struct("=i")


@dataclass(frozen=True)
class Program:
    """What to run: `python -m module arguments…`, there, with these variables and no others."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str


def next_program(requests: socket.socket) -> Program | None:
    """Forks for each request until nobody is there any more who could ask; then kills the forks.

    Returns:
        In each fork, the program that it is to become; in the first process None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who started this
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    running: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([requests, ended], [], [])
        if ended in readable:
            ended.recv(1024)
            tell_ends(running)
        if requests in readable:
            program, descriptors = received(requests)
            if program is None:
                end_all(running)
                return None
            process = fork()
            if process == 0:
                for other in (requests, ended, wake, *running.values()):
                    other.close()
                become(*descriptors)
                return program
            output, reports = descriptors
            os.close(output)
            running[process] = socket.socket(fileno=reports)
            running[process].sendall(NUMBER.pack(process))


def received(requests: socket.socket) -> tuple[Program | None, list[int]]:
    """Returns the next request and the descriptors that came with it; None after the last one."""
    length, descriptors, _, _ = socket.recv_fds(requests, NUMBER.size, 2)
    if not length:
        return None, []
    left = NUMBER.unpack(length)[0]
    content = bytearray()
    while len(content) < left:
        content += requests.recv(left - len(content))
    return Program(**json.loads(content)), descriptors


def fork() -> int:
    """Forks a process that dies with this one; signals do there what they do in a new process."""
    server = os.getpid()
    process = os.fork()
    if process == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        die_with(server, signal.SIGKILL)
    return process


def tell_ends(running: dict[int, socket.socket]) -> None:
    """Reports every process that has ended since, and forgets it."""
    for process in list(running):
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            tell_end(running.pop(process), status)


def end_all(running: dict[int, socket.socket]) -> None:
    """Kills every process, and reports that."""
    for process, reports in running.items():
        os.kill(process, signal.SIGKILL)
        tell_end(reports, os.waitpid(process, 0)[1])


def tell_end(reports: socket.socket, status: int) -> None:
    """Reports a process's end, if anybody still reads it."""
    with reports, suppress(OSError):
        reports.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def become(output: int, reports: int) -> None:
    """Gives this process nothing to read, and a place for what it prints."""
    os.close(reports)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, place)
    os.close(nothing)
    os.close(output)


def main() -> None:
    """Serves until the socket is closed; each fork runs its program and ends as that does."""
    gc.disable()
    for name in PRELOADED:
        import_module(name)
    gc.freeze()  # what is never looked at by the collector stays shared
    requests = socket.socket(fileno=os.dup(0))
    program = next_program(requests)
    gc.enable()
    if program is None:
        return
    os.environ.clear()
    os.environ.update(program.environment)
    os.chdir(program.folder)
    sys.path[0] = program.folder  # as for `python -m`, which was run elsewhere
    sys.argv = [program.module, *program.arguments]
    # Ends as `python -m` does, SystemExit and whatever else comes out of it included.
    runpy.run_module(program.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
