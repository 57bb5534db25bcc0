"""Webhooks sent by `python -m service_platform.worker`, also when that is killed."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from service_testing.services import RunningService
from service_testing.webhook_receiver import WebhookReceiver

MESSAGES = 40


@pytest.fixture(scope="session")
def service_settings() -> dict[str, str]:
    return {
        "RATE_LIMIT_ENABLED": "false",
        "JWT_AUDIENCE": "users",
        "JOBS_POLL_SECONDS": "0.1",
        "JOBS_LEASE_SECONDS": "1",
        "WEBHOOKS_ALLOW_PRIVATE": "true",
    }


class WorkerProcess(RunningService):
    """The shop's worker."""

    module = "service_platform.worker"


@pytest.fixture
def worker_process(
    service_environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[], WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        made = WorkerProcess("shop.webhooks:create_app", service_environment, tmp_path)
        started.append(made)
        made.start()
        return made

    yield start
    for each in started:
        each.stop()


async def test_a_worker_that_is_killed_loses_no_message(
    subscriber: Any, receiver: WebhookReceiver, worker_process: Callable[[], WorkerProcess]
) -> None:
    webhook = await subscriber.subscribe(receiver.url)
    for number in range(MESSAGES):
        await subscriber.write(str(number))
    receiver.open.clear()
    first = await asyncio.to_thread(worker_process)
    await receiver.until(1)
    first.send_signal(signal.SIGKILL)
    receiver.open.set()
    await asyncio.to_thread(worker_process)
    await subscriber.until_status(webhook, "succeeded", MESSAGES)
    told = {each.headers["webhook-id"]: each for each in receiver.requests}
    assert len(receiver.requests) > len(told) == MESSAGES  # what was being sent came twice
    texts = {
        Webhook(webhook["secret"]).verify(each.body, each.headers)["data"]["text"]
        for each in told.values()
    }
    assert texts == {str(number) for number in range(MESSAGES)}
