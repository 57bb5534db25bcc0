"""Forwards TCP connections to a server that a test can exchange: `TcpProxy`."""

import asyncio
import contextlib
from typing import Self

from service_testing.ports import HOST


class TcpProxy:
    """What stands before a database that fails over: an address that comes to mean another server.

    Connections that are open when the target changes stay with the old server, as behind a virtual
    address or a DNS name.

    Args:
        target: port on 127.0.0.1 that new connections lead to; may be set at any time.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*self._tasks)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.close()
            self._writers.discard(writer)
            return
        self._writers.add(server_writer)
        ways = [
            asyncio.create_task(_forward(reader, server_writer)),
            asyncio.create_task(_forward(server_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for each in (writer, server_writer):
                each.close()
                self._writers.discard(each)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


__all__ = ["TcpProxy"]
