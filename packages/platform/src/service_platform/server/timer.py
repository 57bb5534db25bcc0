"""A timer that is set anew for every request at the cost of a comparison."""

import asyncio
import math
from collections.abc import Callable


class DeadlineTimer:
    """Calls back at a deadline that moves often and is seldom reached.

    The event loop's timer is only replaced when the deadline comes nearer; otherwise it looks, when
    it fires, whether the deadline has moved.

    Args:
        loop: event loop.
        expired: called at the deadline.
    """

    __slots__ = ("_deadline", "_expired", "_fires_at", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._deadline = math.inf
        self._fires_at = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Expire in `seconds` from now, whatever was set before."""
        self._deadline = deadline = self._loop.time() + seconds
        if deadline < self._fires_at:
            if self._handle is not None:
                self._handle.cancel()
            self._schedule(deadline)

    def clear(self) -> None:
        """Not expire; the event loop's timer is kept for the next deadline."""
        self._deadline = math.inf

    def stop(self) -> None:
        """Not expire, for good."""
        self.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self, at: float) -> None:
        self._fires_at = at
        self._handle = self._loop.call_later(max(0.0, at - self._loop.time()), self._fire)

    def _fire(self) -> None:
        self._handle = None
        self._fires_at = math.inf
        if self._deadline <= self._loop.time() + 0.001:
            self._deadline = math.inf
            self._expired()
        elif self._deadline < math.inf:
            self._schedule(self._deadline)
