"""Where the time of a request goes: server protocol and application, without sockets.

Without system calls the figures are steady to a hundredth, so that small changes can be seen. Each
contestant is a process of its own; `python -m benchmarks.path <contestant> <seconds>` is one.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks.apps import hello
from benchmarks.comparison import Table, interleaved, rows
from benchmarks.cores import pinned
from benchmarks.servers import ROOT
from service_platform.server.runner import configure

BARE: Final = "bare FastAPI"
VARIANTS: Final[Mapping[str, Mapping[str, str]]] = {
    BARE: {},
    "full stack": {},
    "not accelerated": {"ACCELERATION": "false"},
    "without the access log": {"LOG_LEVEL": "WARNING"},
    "without the limit": {"RATE_LIMIT_ENABLED": "false"},
    "without either": {"LOG_LEVEL": "WARNING", "RATE_LIMIT_ENABLED": "false"},
}
REQUEST: Final = f"GET {hello.PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
BATCH: Final = 500


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Measure all in turn, each on one core."""
    contestants = {name: _process(name, seconds / 2) for name in VARIANTS}
    measured = rows(interleaved(contestants, rounds=rounds), BARE)
    return [Table("Server and application without sockets", "µs a request", measured)]


def _process(name: str, seconds: float) -> Callable[[], float]:
    command = [sys.executable, "-m", "benchmarks.path", name, str(seconds)]
    environment = {**os.environ, "LOG_FORMAT": "json", **VARIANTS[name]}

    def once() -> float:
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,  # the access log
            stderr=subprocess.PIPE,
            check=True,
            cwd=ROOT,
            env=environment,
        )
        return float(done.stderr)

    return once


class Nowhere(asyncio.Transport):
    """A connection whose other side takes everything."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses, as a socket has them."""
        return {"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Forget it."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """Never."""
        return False

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""

    def close(self) -> None:
        """Nothing to close."""


def _protocol(name: str) -> Any:
    if name == BARE:
        config = uvicorn.Config(hello.bare_fastapi, access_log=False, log_level="warning")
    else:
        app = hello.full_stack()
        config = configure(app, app)
    config.load()
    protocol: Any = config.http_protocol_class
    return protocol(config=config, server_state=ServerState(), app_state={})


async def _measure(name: str, seconds: float) -> float:
    """Microseconds of processor time a request, the least of many batches."""
    protocol = _protocol(name)
    protocol.connection_made(Nowhere())
    batches: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(batches) < 3:
        began = time.process_time()
        for _ in range(BATCH):
            protocol.data_received(REQUEST)
            while not protocol.cycle.response_complete:  # noqa: ASYNC110 - waiting is measured
                await asyncio.sleep(0)
        batches.append(time.process_time() - began)
    return min(batches) / BATCH * 1e6


if __name__ == "__main__":
    with pinned(0):
        print(uvloop.run(_measure(sys.argv[1], float(sys.argv[2]))), file=sys.stderr)
