"""Work that goes on beside the requests for as long as a resource lives."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from service_platform import tasks
from service_platform.logging import get_logger

RESTART_SECONDS = 1.0
"""Pause before work that failed unexpectedly begins anew."""

log = get_logger("service_platform.events")

Work = Callable[[], Awaitable[None]]


class Background:
    """Tasks that never end by themselves: what fails is logged and begun again.

    Args:
        name: for logs and task names.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Work) -> None:
        """Do something that has no end."""
        self._add(self._forever(work), work)

    def every(self, seconds: float, work: Work) -> None:
        """Do something again and again, about this long after it ended the last time.

        A database or Redis that is away at the time only means that it is done the next time.
        """
        self._add(self._regularly(seconds, work), work)

    async def stop(self) -> None:
        """End all of it."""
        await tasks.end(*self._tasks)
        self._tasks.clear()

    def _add(self, coroutine: Coroutine[Any, Any, None], work: Work) -> None:
        name = f"{self._name}:{getattr(work, '__name__', 'work')}"
        self._tasks.add(asyncio.create_task(coroutine, name=name))

    async def _forever(self, work: Work) -> None:
        while True:
            await self._attempt(work)
            await asyncio.sleep(RESTART_SECONDS)

    async def _regularly(self, seconds: float, work: Work) -> None:
        while True:
            await self._attempt(work)
            # Replicas that started together need not all come at the same time.
            await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret

    async def _attempt(self, work: Work) -> None:
        try:
            await work()
        except (RedisError, SQLAlchemyError, OSError) as error:
            log.debug("background_work_put_off", work=self._name, error=type(error).__name__)
        except Exception:
            log.exception("background_work_failed", work=self._name)


__all__ = ["Background"]
