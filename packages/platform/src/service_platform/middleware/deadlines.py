"""Keeps the time limits of requests, by one timer a process instead of one a request.

The limit is the time until the response starts; a stream, a download or a background task may then
take as long as it needs. `@timeout` sets the limit of one route.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import anyio

from service_platform.context import RequestContext

TICKS_PER_LIMIT: Final = 20
LONGEST_TICK_SECONDS: Final = 0.25
SHORTEST_TICK_SECONDS: Final = 0.005
_DECLARED: Final = "__request_timeout__"

F = TypeVar("F", bound=Callable[..., Any])


class RouteTimeout:
    """The time limit of a route.

    Args:
        seconds: until the response starts; `None` for no limit.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


def timeout(seconds: float | None) -> Callable[[F], F]:
    """Set the time limit of an endpoint instead of `REQUEST_TIMEOUT_SECONDS`.

    ```python
    @router.post("/reports")
    @timeout(120)
    async def make_report(...): ...
    ```

    Args:
        seconds: until the response starts, after which the handler is cancelled and 504 is
            answered; `None` for no limit. For a WebSocket it is the time until it is accepted.

    Raises:
        ValueError: `seconds` is not positive.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"timeout({seconds}) must be a positive number of seconds, or None.")

    def declare(endpoint: F) -> F:
        setattr(endpoint, _DECLARED, RouteTimeout(seconds))
        return endpoint

    return declare


def declared_timeout(endpoint: object) -> RouteTimeout | None:
    """Return what `@timeout` declared on an endpoint, `None` without one."""
    declared: RouteTimeout | None = getattr(endpoint, _DECLARED, None)
    return declared


class Deadlines:
    """Requests whose response has not started; those past their deadline are cancelled.

    On asyncio one timer watches all of them: those with the default limit are in a dictionary that
    is sorted by deadline as it stands, so it looks at its head only; the others are few. On another
    event loop, as in some tests, each has a cancel scope (`RequestContext.cancel_scope`).

    Args:
        seconds: time until a response starts; it is kept to within a twentieth (at most 0.25 s).
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._default_tick = min(LONGEST_TICK_SECONDS, seconds / TICKS_PER_LIMIT)
        self._tick = self._default_tick
        self._with_default: dict[asyncio.Task[object], RequestContext] = {}
        self._with_own: dict[asyncio.Task[object], RequestContext] = {}
        self._timer: asyncio.TimerHandle | None = None

    def of(self, now: float, asked: bytes | None) -> float:
        """Return the event loop time at which a request that begins now is given up.

        Args:
            now: event loop time.
            asked: seconds its caller has (`X-Request-Timeout`); it shortens the limit, no more.
        """
        seconds = _positive_seconds(asked) if asked is not None else None
        return now + (self.seconds if seconds is None else min(seconds, self.seconds))

    def enter(self, context: RequestContext, *, own_limit: bool = False) -> None:
        """Watch a request that begins; `own_limit` says that its limit is not the default."""
        if context.task is None:
            context.cancel_scope = anyio.CancelScope(deadline=context.deadline)
            return
        watched = self._with_own if own_limit else self._with_default
        watched[context.task] = context
        if self._timer is None:
            self._timer = context.task.get_loop().call_later(self._tick, self._sweep)

    def change(self, context: RequestContext, limit: RouteTimeout, asked: bytes | None) -> None:
        """Give a watched request the limit of its route, or what its caller has where that is less.

        Args:
            context: of the request.
            limit: what `@timeout` declared.
            asked: as in `of`.
        """
        self.leave(context)
        limits = (limit.seconds, _positive_seconds(asked) if asked is not None else None)
        given = [seconds for seconds in limits if seconds is not None]
        now = anyio.current_time() if context.task is None else context.task.get_loop().time()
        context.deadline = now + min(given) if given else math.inf
        if context.cancel_scope is not None:
            context.cancel_scope.deadline = context.deadline
        if not given or context.task is None:
            return
        self.enter(context, own_limit=True)
        tick = max(SHORTEST_TICK_SECONDS, min(given) / TICKS_PER_LIMIT)
        if tick < self._tick and self._timer is not None:
            self._timer.cancel()
            self._tick = tick
            self._timer = context.task.get_loop().call_later(tick, self._sweep)

    def end(self, context: RequestContext) -> None:
        """End the time limit of a request whose response starts: what follows has none."""
        self.leave(context)
        context.deadline = math.inf
        if context.cancel_scope is not None:
            context.cancel_scope.deadline = math.inf

    def leave(self, context: RequestContext) -> None:
        """Stop watching a request."""
        if context.task is None:
            return
        if self._with_default.pop(context.task, None) is None:
            self._with_own.pop(context.task, None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = [context for context in self._with_own.values() if context.deadline <= now]
        for context in self._with_default.values():
            if context.deadline > now:
                break
            late.append(context)
        for context in late:
            self.leave(context)
            context.timed_out = True
            cast("asyncio.Task[object]", context.task).cancel()
        if not self._with_own:
            self._tick = self._default_tick
        watching = self._with_own or self._with_default
        self._timer = loop.call_later(self._tick, self._sweep) if watching else None


def _positive_seconds(text: bytes) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds > 0 else None  # not true of NaN either
