"""A storm of logins at full hash cost: bounded memory, other routes alive, 503 for the excess."""

import asyncio
import os
import resource
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
from services.auth.tests.conftest import ME, PASSWORD, TOKEN, new_person
from services.auth.tests.own_application import (
    app,
    client,
    database_url,
    redis_url,
    service_environment,
)

from service_testing.services import RunningService

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]

LIMIT = 256 * 1024 * 1024
LOGINS, QUEUE = (200, 32) if os.environ.get("FULL_SCALE") else (80, 16)
"""The hashes of 80 would take 1.5 GB, were they all computed at once."""


def peak_memory(pid: int) -> int:
    """The most bytes of memory the process ever had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


async def test_a_storm_of_logins_within_256_megabytes(
    running_service: Callable[..., RunningService],
) -> None:
    auth = running_service(
        "auth",
        PASSWORD_HASH_MEMORY_KIB="19456",
        PASSWORD_HASH_TIME_COST="2",
        PASSWORD_HASH_QUEUE=str(QUEUE),
        RATE_LIMIT_ENABLED="false",
    )
    assert auth.process is not None
    process = psutil.Process(auth.process.pid)
    process.rlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    others: list[int] = []
    storm_is_over = asyncio.Event()
    limits = httpx2.Limits(max_connections=LOGINS + 10)
    async with httpx2.AsyncClient(base_url=auth.url, timeout=60, limits=limits) as client:
        ada = await new_person(client, "ada@example.com")
        form = {"grant_type": "password", "username": ada.email, "password": PASSWORD}

        async def use_other_routes() -> None:
            while not storm_is_over.is_set():
                for path in (ME, "/.well-known/jwks.json", "/health/live", "/health/ready"):
                    answer = await client.get(path, headers=ada.headers)
                    others.append(answer.status_code)

        beside = asyncio.create_task(use_other_routes())
        answers = await asyncio.gather(*(client.post(TOKEN, data=form) for _ in range(LOGINS)))
        storm_is_over.set()
        await beside
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= QUEUE
        for answer in answers:
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
        assert len(others) >= 8
        assert set(others) == {200}
        assert (await client.post(TOKEN, data=form)).status_code == 200
    assert peak_memory(process.pid) < LIMIT
