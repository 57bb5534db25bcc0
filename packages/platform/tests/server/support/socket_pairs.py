"""A transport on a real socket, and the other end of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def connected(
    protocol: asyncio.Protocol | None = None,
) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Give the transport of this end, and the socket of the other end, which nobody reads."""
    here, there = socket.socketpair()
    there.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol or asyncio.Protocol(), sock=here)
    try:
        yield transport, there
    finally:
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()
        there.close()
        await asyncio.sleep(0.01)  # the transport closes its socket in a later step of the loop


def read_all(there: socket.socket) -> int:
    """Read what has arrived; returns how many bytes, and notices no end."""
    size = 0
    with contextlib.suppress(BlockingIOError):
        while data := there.recv(1_000_000):
            size += len(data)
    return size
