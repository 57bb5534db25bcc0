"""An HTTP/1.1 load generator: many keep-alive connections, one request in flight on each.

It sends prepared bytes and reads no more of an answer than its length and status, so that one core
of load saturates one core of server.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import uvloop

from benchmarks.cores import pinned


@dataclass(frozen=True)
class Request:
    """One prepared request.

    Attributes:
        url: absolute `http://` address.
        method: HTTP method.
        headers: beyond `Host` and `Content-Length`.
        body: content, may be empty.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire."""
        url = urlsplit(self.url)
        path = url.path + (f"?{url.query}" if url.query else "")
        lines = [f"{self.method} {path} HTTP/1.1", f"Host: {url.netloc}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass
class Result:
    """What one measured span gave."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers per second, whatever their status."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: int) -> float:
        """Latency in milliseconds below which `percent` of the answers came."""
        if len(self.latencies) < 2:
            return 0.0
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1000


class _Connection(asyncio.Protocol):
    """Sends the requests in turn, the next as soon as an answer is complete."""

    def __init__(self, requests: list[bytes], offset: int, result: Result) -> None:
        self._requests = requests
        self._next = offset
        self._result = result
        self._buffer = b""
        self._sent = 0.0
        self.transport: asyncio.WriteTransport | None = None
        self.stopping = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        assert self.transport is not None
        self._sent = time.perf_counter()
        self.transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = self._content_length(head)
        if len(self._buffer) < head + 4 + length:
            return
        self._result.latencies.append(time.perf_counter() - self._sent)
        self._result.statuses[int(self._buffer[9:12])] += 1
        self._buffer = b""
        if self.stopping:
            self._finish()
        else:
            self._send()

    def _content_length(self, head: int) -> int:
        lower = self._buffer[:head].lower()
        start = lower.find(b"content-length: ")
        if start < 0:
            return 0
        end = lower.find(b"\r\n", start)
        return int(lower[start + 16 : end if end > 0 else head])

    def connection_lost(self, _: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def _run(requests: list[Request], connections: int, seconds: float) -> Result:
    result = Result()
    encoded = [request.encode() for request in requests]
    url = urlsplit(requests[0].url)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    opened = []
    for number in range(connections):
        _, connection = await loop.create_connection(
            partial(_Connection, encoded, number, result), url.hostname or "", url.port or 80
        )
        opened.append(connection)
    await asyncio.sleep(seconds)
    for connection in opened:
        connection.stopping = True
    await asyncio.wait([connection.done for connection in opened], timeout=10)
    result.seconds = time.perf_counter() - started
    for connection in opened:
        if connection.transport is not None:
            connection.transport.close()
    return result


def measure(
    requests: list[Request], *, connections: int = 16, seconds: float = 2.0, core: int | None = 1
) -> Result:
    """Send `requests` in turn for `seconds` over `connections` connections, pinned to `core`."""
    with pinned(core):
        return uvloop.run(_run(requests, connections, seconds))


def throughput(
    requests: list[Request], *, seconds: float, connections: int = 16
) -> Callable[[], float]:
    """A contestant of `comparison.interleaved`: answers per second.

    Calling it raises `RuntimeError` where anything but 200 is answered: an error is soon made.
    """

    def once() -> float:
        result = measure(requests, connections=connections, seconds=seconds)
        if set(result.statuses) != {200}:
            raise RuntimeError(f"{requests[0].url} answered {dict(result.statuses)}")
        return result.per_second

    return once
