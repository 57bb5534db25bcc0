"""Starts and stops resources: what a service opens at its start and closes at its end.

`create_app` starts them in the order given and stops them in reverse; `/health` reports their
checks (see `health.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, runtime_checkable

import anyio
import structlog

STOP_TIMEOUT_SECONDS = 5.0
"""Time one resource gets to close before it is left behind."""

log = structlog.stdlib.get_logger("lifecycle")


class HealthCheckError(Exception):
    """A dependency does not work. `reason` is shown to callers: a kind, never exception text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StartError(Exception):
    """The service cannot start until somebody mends it; waiting would not help.

    The message is one sentence that says what to do, and is all that is shown. The process ends
    with status 78, as for a wrong setting.
    """


@runtime_checkable
class Resource(Protocol):
    """Something with a lifetime: a database engine, a Redis client, a background consumer.

    Attributes:
        name: key in `/health` and attribute of `app.state`.
        critical: whether the service is unhealthy while the check fails, and not ready before it
            has succeeded once; otherwise it is degraded.
    """

    name: str
    critical: bool

    async def start(self) -> None:
        """Open what is needed. Must not fail only because a dependency is away for a moment.

        Raises:
            StartError: where only a person can help.
        """

    async def stop(self) -> None:
        """Close everything `start` opened; called once, also after a failed start of another."""

    async def check(self) -> None:
        """Return when the resource works; raise `HealthCheckError` when it does not."""


class Lifecycle:
    """Where a process is between start and end; probes and the drain read it.

    `started` is set once every resource has started, `draining` from the stop signal on,
    `start_error` where a resource needs somebody to mend something first.

    Raises:
        ValueError: two resources have the same name, so that one would hide the other.
    """

    __slots__ = ("_event_streams", "_stack", "draining", "resources", "start_error", "started")

    def __init__(self, resources: Sequence[Resource]) -> None:
        names = [resource.name for resource in resources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"Two resources are named {twice[0]!r}; give each a name of its own (`name=`)."
            )
        self.resources = tuple(resources)
        self.started = False
        self.draining = False
        self.start_error: StartError | None = None
        self._event_streams: dict[asyncio.Task[object], Callable[[], object]] = {}

    def watch_event_stream(self, task: asyncio.Task[object], end: Callable[[], object]) -> None:
        """Remember a response that never ends by itself (server-sent events).

        Args:
            task: that sends it.
            end: called when the process drains; ends the stream in order.
        """
        self._event_streams[task] = end
        task.add_done_callback(self.forget_event_stream)

    def forget_event_stream(self, task: asyncio.Task[object]) -> None:
        """Stop watching a stream that has ended."""
        self._event_streams.pop(task, None)

    def end_event_streams(self) -> int:
        """End every event stream, as the server does when it closes its socket.

        Their clients connect again, to another replica. Other streams have an end of their own and
        get the time of the shutdown for it.

        Returns:
            How many there were.
        """
        streams, self._event_streams = self._event_streams, {}
        for end in streams.values():
            end()
        return len(streams)

    async def __aenter__(self) -> "Lifecycle":
        """Start the resources in order; when one fails, stop those already started."""
        async with AsyncExitStack() as started:
            for resource in self.resources:
                try:
                    await resource.start()
                except StartError as error:
                    self.start_error = error
                    raise
                started.push_async_callback(stop_within, resource, STOP_TIMEOUT_SECONDS)
            self._stack = started.pop_all()
        self.started = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop the resources in reverse order, each under a time limit."""
        self.draining = True
        self.started = False
        await self._stack.aclose()


async def stop_within(resource: Resource, seconds: float) -> None:
    """Stop one resource; a slow or failing one is logged and never blocks the others."""
    try:
        with anyio.fail_after(seconds):
            await resource.stop()
    except TimeoutError:
        log.warning("resource_stop_timed_out", resource=resource.name, timeout_seconds=seconds)
    except Exception:
        log.exception("resource_stop_failed", resource=resource.name)
