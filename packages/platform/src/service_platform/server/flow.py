"""Back pressure: when the server stops reading from a connection."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's flow control, with reading that stays paused while the server wants it to.

    Args:
        transport: of the connection.
        on_resume: called when reading goes on after a pause.
    """

    def __init__(self, transport: asyncio.Transport, on_resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self._on_resume = on_resume
        self._held = False

    def hold(self) -> None:
        """Pause reading until `release`, whatever the application asks for."""
        self._held = True
        self.pause_reading()

    def release(self) -> None:
        """Go on reading."""
        self._held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Go on reading, unless it is held."""
        if self.read_paused and not self._held:
            super().resume_reading()
            self._on_resume()


class ResponseTransport:
    """The transport as uvicorn's cycle uses it; closing it is left to the connection.

    Args:
        transport: of the connection.
        close: called when the response was the last one.
    """

    __slots__ = ("_transport", "close", "closed", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._transport = transport
        self.write = transport.write
        self.close = close
        self.closed = False

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any more."""
        return self.closed or self._transport.is_closing()
