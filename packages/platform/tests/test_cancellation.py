"""Background tasks end when they are told to, whatever they are doing."""

import asyncio

from service_platform.cancellation import cancel_and_wait


async def test_a_task_that_drops_the_first_cancellation_is_ended() -> None:
    dropped = 0

    async def stubborn() -> None:
        nonlocal dropped
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                dropped += 1
                if dropped > 1:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancel_and_wait(task, None)
    assert task.cancelled()


async def test_nothing_to_end_is_no_error() -> None:
    await cancel_and_wait()
    await cancel_and_wait(None)
