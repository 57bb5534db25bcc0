"""Ending background tasks for certain."""

import asyncio
from typing import Any, Final

REPEAT_SECONDS: Final = 0.1


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and return when they have ended.

    One request is not always enough: before Python 3.12 `asyncio.wait_for`, which the Redis client
    uses, drops a cancellation that arrives in the moment its own work is done.
    """
    pending = {task for task in tasks if task is not None}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=REPEAT_SECONDS)
