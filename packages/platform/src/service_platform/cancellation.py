"""Cancels asyncio tasks and waits until they have ended."""

import asyncio
from typing import Any, Final

REPEAT_SECONDS: Final = 0.1


async def cancel_and_wait(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and return when they have ended; `None` among them is ignored.

    One request is not always enough: before Python 3.12 `asyncio.wait_for`, which the Redis client
    uses, drops a cancellation that arrives in the moment its own work is done.
    """
    pending = {task for task in tasks if task is not None}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=REPEAT_SECONDS)
