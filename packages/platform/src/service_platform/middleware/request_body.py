"""Notes how a request's body ends, and discards the rest of one that is too large.

The limit itself is FastAPI's `max_body_size`, of the application (`MAX_BODY_BYTES`), a router or a
route.
"""

from typing import Final

import anyio
from starlette.types import Message, Receive

from service_platform.context import RequestContext

DISCARDED_BYTES: Final = 16_777_216
DISCARDING_SECONDS: Final = 2.0
"""How much of a refused body is still read, and for how long."""


class RequestBody:
    """Passes on a request's body and notes how it ended.

    Args:
        receive: of the server.
        context: of the request; told when the client leaves before its body is complete.

    Attributes:
        complete: whether all of the body has arrived.
    """

    __slots__ = ("_context", "_receive", "complete")

    def __init__(self, receive: Receive, context: RequestContext) -> None:
        self._receive = receive
        self._context = context
        self.complete = False

    async def receive(self) -> Message:
        """Return the next message of the server."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.complete = not message.get("more_body", False)
        elif not self.complete:
            self._context.disconnected = True
        return message

    async def discard(self) -> None:
        """Read the rest of a refused body, within bounds, and throw it away.

        A connection closed while data arrives is reset, and the client, busy sending, would lose
        the answer (RFC 9112, section 9.6). One that asked first (`Expect: 100-continue`) sends
        nothing after a refusal.
        """
        if b"expect" in self._context.headers:
            return
        discarded = 0
        with anyio.move_on_after(DISCARDING_SECONDS):
            while not self.complete and discarded < DISCARDED_BYTES:
                message = await self._receive()
                discarded += len(message.get("body", b""))
                self.complete = not message.get("more_body", False)
