"""Resources: what a service opens at start and closes at the end, and the lifecycle they define.

`create_app` starts them in the order given and stops them in reverse; `/health` reports their
checks (see `health.py`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol, runtime_checkable

import structlog

STOP_TIMEOUT_SECONDS = 5.0
"""Time one resource gets to close before it is left behind."""

log = structlog.stdlib.get_logger("lifecycle")


class HealthCheckError(Exception):
    """A dependency does not work. `reason` is shown to callers: a kind, never exception text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@runtime_checkable
class Resource(Protocol):
    """Something with a lifetime: a database engine, a Redis client, a background consumer.

    Attributes:
        name: key in `/health` and attribute of `app.state`.
        critical: whether a failing check makes the service unready; otherwise it is degraded.
    """

    name: str
    critical: bool

    async def start(self) -> None:
        """Open what is needed. Must not fail only because a dependency is away for a moment."""

    async def stop(self) -> None:
        """Close everything `start` opened; called once, also after a failed start of another."""

    async def check(self) -> None:
        """Return when the resource works; raise `HealthCheckError` when it does not."""


class Lifecycle:
    """Where a process is between start and end; probes and the drain read it.

    `started` is set once every resource has started, `draining` from the stop signal on.
    """

    __slots__ = ("_stack", "draining", "resources", "started")

    def __init__(self, resources: Sequence[Resource]) -> None:
        names = [resource.name for resource in resources]
        if len(set(names)) != len(names):
            raise ValueError(f"Two resources have one name: {sorted(names)}")
        self.resources = tuple(resources)
        self.started = False
        self.draining = False

    async def __aenter__(self) -> "Lifecycle":
        """Start the resources in order; when one fails, stop those already started."""
        async with AsyncExitStack() as started:
            for resource in self.resources:
                await resource.start()
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
        async with asyncio.timeout(seconds):
            await resource.stop()
    except TimeoutError:
        log.warning("resource_stop_timed_out", resource=resource.name, timeout_seconds=seconds)
    except Exception:
        log.exception("resource_stop_failed", resource=resource.name)
