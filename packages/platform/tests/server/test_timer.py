"""The timer of a connection: a deadline that moves."""

import asyncio
import math

import pytest

from service_platform.server.timer import DeadlineTimer


class Expiry:
    """Notes when a timer expires, in seconds from the start."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.times: list[float] = []
        self.timer = DeadlineTimer(self._loop, self._note)

    def _note(self) -> None:
        self.times.append(self._loop.time() - self._began)

    async def wait(self, seconds: float) -> list[float]:
        """Wait until `seconds` after the start; returns the expiries until then."""
        await asyncio.sleep(self._began + seconds - self._loop.time())
        return self.times


async def test_a_timer_expires_once_at_its_deadline() -> None:
    expiry = Expiry()
    expiry.timer.set(0.05)
    (at,) = await expiry.wait(0.4)
    assert at >= 0.049


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.3), (60.0, 0.3)], ids=["later", "earlier"])
async def test_a_deadline_can_move(first: float, second: float) -> None:
    expiry = Expiry()
    expiry.timer.set(first)
    expiry.timer.set(second)
    assert await expiry.wait(0.2) == []
    (at,) = await expiry.wait(0.8)
    assert at >= 0.299


async def test_a_cleared_timer_does_not_expire_and_can_be_set_again() -> None:
    expiry = Expiry()
    expiry.timer.set(0.05)
    expiry.timer.clear()
    assert await expiry.wait(0.15) == []
    expiry.timer.set(0.05)
    assert len(await expiry.wait(0.5)) == 1


async def test_a_timer_can_be_set_again_when_it_expires() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    done = asyncio.Event()

    def expired() -> None:
        times.append(loop.time())
        timer.set(0.05)
        if len(times) == 3:
            timer.stop()
            done.set()

    timer = DeadlineTimer(loop, expired)
    timer.set(0.0)
    async with asyncio.timeout(5):
        await done.wait()
    await asyncio.sleep(0.15)
    assert len(times) == 3


async def test_a_stopped_timer_leaves_nothing_in_the_event_loop() -> None:
    expiry = Expiry()
    expiry.timer.set(0.05)
    handle = expiry.timer._handle
    assert handle is not None
    expiry.timer.stop()
    assert handle.cancelled()
    assert await expiry.wait(0.2) == []


async def test_a_later_deadline_keeps_the_timer_of_the_event_loop() -> None:
    timer = DeadlineTimer(asyncio.get_running_loop(), lambda: None)
    timer.set(10.0)
    handle = timer._handle
    timer.set(20.0)
    timer.clear()
    timer.set(30.0)
    assert timer._handle is handle
    timer.set(5.0)
    assert timer._handle is not handle
    timer.stop()
    assert timer._deadline == math.inf
