"""A subscriber to webhooks on a real socket, which records what it is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import orjson

from service_testing.ports import HOST

WAIT_SECONDS = 20.0


@dataclass
class ReceivedRequest:
    """A request that a subscriber got.

    Attributes:
        target: path and query.
        headers: with names in lower case.
        body: as it was sent.
    """

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """The body, read as JSON."""
        return orjson.loads(self.body)


@dataclass
class WebhookReceiver:
    """A subscriber; made by `receiving`.

    Attributes:
        url: to subscribe with.
        status: that it answers.
        headers: further ones of its answers.
        body: of its answers.
        requests: that it got, the oldest first.
        most_at_once: requests that it had at the same time.
        open: while it is not set, no request is answered.
    """

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    requests: list[ReceivedRequest] = field(default_factory=list)
    most_at_once: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    _now: int = 0
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def until(self, number: int) -> list[ReceivedRequest]:
        """Wait for so many requests; returns all it got.

        Raises:
            TimeoutError: they do not come.
        """
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.requests) < number:  # noqa: ASYNC110 - another process may send them
                await asyncio.sleep(0.01)
        return self.requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self._connections.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), reader, writer)
        self._connections.discard(writer)
        writer.close()

    async def end(self) -> None:
        """Answer what waits and close every connection."""
        self.open.set()
        while self._connections:
            for each in list(self._connections):
                each.close()
            await asyncio.sleep(0.01)

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(ReceivedRequest(first.split(" ")[1], headers, body))
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.open.wait()
        finally:
            self._now -= 1
        answer = {"content-length": str(len(self.body)), **self.headers}
        writer.write(
            f"HTTP/1.1 {self.status} Status\r\n".encode()
            + "".join(f"{name}: {value}\r\n" for name, value in answer.items()).encode()
            + b"\r\n"
            + self.body
        )
        await writer.drain()


@asynccontextmanager
async def receiving(*, ssl: SSLContext | None = None) -> AsyncIterator[WebhookReceiver]:
    """Run a subscriber on a free port, with TLS where a context is given."""
    receiver = WebhookReceiver()
    receiver.open.set()
    server = await asyncio.start_server(receiver.serve, HOST, 0, ssl=ssl)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'http' if ssl is None else 'https'}://{HOST}:{port}/hook"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.end()


__all__ = ["ReceivedRequest", "WebhookReceiver", "receiving"]
