"""A service in one process: what it does on the wire, and how it ends."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import httpx2
from commands import PLATFORM, WITHOUT_ACCELERATION
from drain_tests import DrainTests, SecondSignalTests
from serving_tests import ServingTests


class TestServing(ServingTests):
    command = PLATFORM


class TestServingWithoutAcceleration(ServingTests):
    command = WITHOUT_ACCELERATION
    environment = {"ACCELERATION": "false"}  # noqa: RUF012


class TestDraining(DrainTests, SecondSignalTests):
    command = PLATFORM


async def test_requests_that_outlast_the_grace_are_given_up(start: Callable[..., Any]) -> None:
    short = {"DRAIN_DELAY_SECONDS": "0", "SHUTDOWN_TIMEOUT_SECONDS": "0.2"}
    running = start(PLATFORM, **short)
    async with httpx2.AsyncClient(verify=False, base_url=running.url, timeout=30) as client:
        slow = asyncio.create_task(client.get("/api/v1/slow", params={"seconds": 25}))
        await asyncio.sleep(0.2)
        running.signal(signal.SIGTERM)
        response = await slow
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert await asyncio.to_thread(running.wait) == 0
