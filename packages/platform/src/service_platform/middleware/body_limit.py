"""Request bodies are bounded: by what they declare, and by what really arrives."""

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from service_platform.context import RequestContext
from service_platform.errors import BadRequest, PayloadTooLarge, Problem

DISCARDED_BYTES: Final = 16_777_216
DISCARDING_SECONDS: Final = 2.0
"""How much of a refused body is still read, and for how long."""


def refuse_declared(headers: dict[bytes, bytes], max_bytes: int) -> Problem | None:
    """The problem with a `Content-Length` that is too large or no number, else `None`."""
    declared = headers.get(b"content-length")
    if declared is None:
        return None
    if not declared.isdigit():
        return BadRequest("The Content-Length header is not a number.")
    return too_large(max_bytes) if int(declared[:20]) > max_bytes else None


def bounded(receive: Receive, context: RequestContext, max_bytes: int) -> Receive:
    """Wrap `receive` so that it raises `PayloadTooLarge` past `max_bytes`, chunked or not.

    A client that leaves while it still sends is noted in the context.
    """
    received = 0
    complete = False

    async def receive_bounded() -> Message:
        nonlocal received, complete
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > max_bytes:
                if not complete:
                    await discard(receive)
                raise too_large(max_bytes)
        elif message["type"] == "http.disconnect" and not complete:
            context.disconnected = True
            raise ClientDisconnect
        return message

    return receive_bounded


async def discard(receive: Receive) -> None:
    """Read the rest of a refused body, within bounds, and throw it away.

    A connection closed while data arrives is reset, and the client, busy sending, would lose the
    answer (RFC 9112, section 9.6).
    """
    discarded = 0
    try:
        async with asyncio.timeout(DISCARDING_SECONDS):
            while discarded < DISCARDED_BYTES:
                message = await receive()
                discarded += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def too_large(max_bytes: int) -> PayloadTooLarge:
    """The 413 that names the limit; the connection closes because the rest is not read."""
    return PayloadTooLarge(
        f"The request body is larger than {max_bytes} bytes.", headers={"connection": "close"}
    )
