"""Handlers have a time limit, kept by one timer a process instead of one a request.

All requests have the same limit, so the dictionary of requests in flight is sorted by deadline as
it stands: the timer looks at its head only.
"""

import asyncio
from typing import Final

from service_platform.context import RequestContext

TICKS_PER_LIMIT: Final = 20
LONGEST_TICK_SECONDS: Final = 0.25


class Deadlines:
    """Requests in flight; those past their deadline are cancelled.

    Args:
        seconds: time a request may take; it is kept to within a twentieth (at most 0.25 s).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._tick = min(LONGEST_TICK_SECONDS, seconds / TICKS_PER_LIMIT)
        self._in_flight: dict[asyncio.Task[object], RequestContext] = {}
        self._hurried: dict[asyncio.Task[object], RequestContext] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._hurried)

    def of(self, now: float, asked: bytes | None) -> float:
        """When a request that begins now is to be given up.

        Args:
            now: event loop time.
            asked: seconds its caller has (`X-Request-Timeout`); it shortens the limit, no more.
        """
        if asked is None:
            return now + self.seconds
        try:
            seconds = float(asked)
        except ValueError:
            return now + self.seconds
        return now + (seconds if 0 < seconds < self.seconds else self.seconds)

    def enter(
        self, task: asyncio.Task[object], context: RequestContext, *, hurried: bool = False
    ) -> None:
        """Watch a request that begins; `hurried` is one with a shorter time than the others."""
        (self._hurried if hurried else self._in_flight)[task] = context
        if self._timer is None:
            self._timer = task.get_loop().call_later(self._tick, self._sweep)

    def leave(self, task: asyncio.Task[object]) -> None:
        """Forget a request that ended."""
        if self._in_flight.pop(task, None) is None:
            self._hurried.pop(task, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = [entry for entry in self._hurried.items() if entry[1].deadline <= now]
        for task, context in self._in_flight.items():
            if context.deadline > now:
                break
            late.append((task, context))
        for task, context in late:
            self.leave(task)
            context.timed_out = True
            task.cancel()
        self._timer = loop.call_later(self._tick, self._sweep) if len(self) else None
