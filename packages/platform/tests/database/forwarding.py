"""Stands between a database and its clients: `Forwarding`, for tests that change what passes."""

import asyncio
from typing import Self

from service_testing.postgres import LocalPostgres


class Forwarding:
    """Passes everything on between a server and the clients that connect to `port`."""

    def __init__(self, server: LocalPostgres) -> None:
        self._server = server
        self._clients: list[asyncio.StreamWriter] = []
        self._copying: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        for each in self._copying:
            each.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)

    def passed_on(self, data: bytes) -> bytes:
        """What the other side gets in the place of `data`."""
        return data

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._clients.append(writer)
        self._copying += [
            asyncio.create_task(self._copy(reader, up[1])),
            asyncio.create_task(self._copy(up[0], writer)),
        ]

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (data := await reader.read(65_536)) and not writer.is_closing():
                writer.write(self.passed_on(data))
        finally:
            writer.close()
