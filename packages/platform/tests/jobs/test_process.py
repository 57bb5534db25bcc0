"""`python -m service_platform.worker` as a process: probes, the drain, and being killed."""

import asyncio
import json
import os
import random
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shop import jobs as shop
from shop.job_watching import column, enqueued, until_state
from shop.watching import rows
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.database import Database
from service_platform.jobs import enqueue
from service_platform.settings import PlatformSettings
from service_testing import programs
from service_testing.databases import TestDatabases
from service_testing.ports import free_port
from service_testing.postgres import LocalPostgres
from service_testing.services import RunningService, environment_of

FULL_SCALE = bool(os.environ.get("FULL_SCALE"))
JOBS = 10_000 if FULL_SCALE else 800
AT_ONCE = 20
KILLS = 20 if FULL_SCALE else 5
WAIT_SECONDS = 300.0 if FULL_SCALE else 90.0
APP = "shop.jobs:create_app"


class WorkerProcess(RunningService):
    """The shop's worker."""

    module = "service_platform.worker"


@pytest.fixture
def worker_process(
    service_environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts workers; keywords are settings."""
    started: list[WorkerProcess] = []

    def start(*, wait: bool = True, **settings: str) -> WorkerProcess:
        environment = {**service_environment, "JOBS_LEASE_SECONDS": "1", **settings}
        made = WorkerProcess(APP, environment, tmp_path)
        started.append(made)
        made.start(wait=wait)
        return made

    yield start
    for each in started:
        each.stop()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_a_worker_runs_jobs_and_answers_probes_and_nothing_else(
    database: Database, worker_process: Any
) -> None:
    process = await asyncio.to_thread(worker_process)
    job = await enqueued(database, shop.note, number=1)
    await until_state(database, job, "succeeded")
    for path in ("/health/live", "/health/ready", "/health/startup", "/version"):
        assert (await asyncio.to_thread(get, f"{process.url}{path}"))[0] == 200
    status, told = await asyncio.to_thread(get, f"{process.url}/metrics")
    assert status == 200
    assert 'jobs_attempts_total{name="note",outcome="succeeded"} 1.0' in told
    for path in ("/", "/docs", "/api/v1/shop/jobs", "/healthy", "/problems"):
        status, told = await asyncio.to_thread(get, f"{process.url}{path}")
        assert status == 404
        assert json.loads(told)["detail"] == "This process runs jobs and serves no requests."


async def test_at_sigterm_running_jobs_end_and_no_other_begins(
    database: Database, worker_process: Any
) -> None:
    process = await asyncio.to_thread(worker_process)
    job = await enqueued(database, shop.wait_for_end, seconds=1.0)
    await until_state(database, job, "running")
    process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    late = await enqueued(database, shop.note, number=1)
    assert (await asyncio.to_thread(get, f"{process.url}/health/ready"))[0] == 503
    assert await asyncio.to_thread(process.process.wait, 20) == 0
    assert await column(database, job) == "succeeded"
    assert await column(database, late) == "queued"


async def test_a_job_that_takes_longer_than_the_drain_is_given_back(
    database: Database, worker_process: Any
) -> None:
    process = await asyncio.to_thread(worker_process, SHUTDOWN_TIMEOUT_SECONDS="0.2")
    job = await enqueued(database, shop.wait_for_end)
    await until_state(database, job, "running")
    assert await asyncio.to_thread(process.stop) == 0
    assert await column(database, job) == "queued"
    assert await column(database, job, "failures") == 0


async def test_a_worker_without_jobs_says_what_to_add(
    service_environment: dict[str, str], tmp_path: Path
) -> None:
    done = await asyncio.to_thread(
        programs.run,
        "service_platform.worker",
        "shop.app:create_app",
        environment={**service_environment, "PORT": str(free_port())},
        folder=tmp_path,
    )
    assert done.returncode == 1
    assert "shop.app:create_app has no jobs; add a JobWorker to its resources." in done.stdout


@pytest.fixture
async def own_database(
    own_postgres: LocalPostgres, tmp_path: Path
) -> AsyncIterator[tuple[Database, str]]:
    """A migrated database, with its address, on a server that may be killed."""
    url = TestDatabases(own_postgres, tmp_path, "jobs").create("shop")
    database = Database(
        PlatformSettings(_env_file=None, environment="test", database_url=url),
        migrations="shop.migrations",
    )
    async with database.engine.begin() as connection:
        await connection.run_sync(shop.metadata.create_all)
    yield database, url
    await database.stop()


async def test_each_effect_comes_about_exactly_once_whoever_is_killed(
    own_database: tuple[Database, str],
    own_postgres: LocalPostgres,
    redis_url: str,
    tokens: Any,
    tmp_path: Path,
) -> None:
    """Workers and PostgreSQL are killed again and again while jobs are enqueued and run."""
    database, url = own_database
    environment = {
        **environment_of("shop", database_url=url, redis_url=redis_url, auth_url=tokens.auth_url),
        "JOBS_LEASE_SECONDS": "1",
        "JOBS_POLL_SECONDS": "0.2",
    }
    workers = [WorkerProcess(APP, environment, tmp_path) for _ in range(3)]
    committed: list[int] = []
    try:
        for each in workers:
            await asyncio.to_thread(each.start, 60.0, wait=False)
        enqueuing = asyncio.create_task(enqueue_all(database, committed))
        for kill in range(KILLS):
            await asyncio.sleep(random.uniform(0.2, 1.0))
            if kill % 3 == 2:
                await asyncio.to_thread(own_postgres.kill)
                await asyncio.to_thread(own_postgres.start)
            else:
                victim = random.choice(workers)
                await asyncio.to_thread(kill_and_restart, victim)
        await enqueuing
        await until_all_succeeded(database)
    finally:
        for each in workers:
            each.send_signal(signal.SIGKILL)
            if each.process is not None:
                await asyncio.to_thread(each.process.wait)
    inside = await rows(database, "SELECT number FROM effects WHERE what = 'inside'")
    assert sorted(inside) == committed == list(range(JOBS))  # each exactly once, none lost
    outside = await rows(database, "SELECT number FROM effects WHERE what = 'outside'")
    assert set(outside) >= {each for each in inside if each % 2}  # at least once
    if FULL_SCALE:  # of a few kills each may come between two jobs
        begun_again = await rows(database, "SELECT count(*) FROM jobs WHERE attempt > 1")
        assert begun_again[0] > 0


async def enqueue_all(database: Database, committed: list[int]) -> None:
    """Enqueue every job, half of them with an effect outside of their transaction."""
    for first in range(0, JOBS, AT_ONCE):
        numbers = range(first, first + AT_ONCE)

        async def work(session: AsyncSession, numbers: range = numbers) -> None:
            for number in numbers:
                job = shop.tell_outside if number % 2 else shop.note_once
                await enqueue(session, job, number=number)

        while not await is_enqueued(database, first):
            try:
                await database.run(work, attempts=1)
            except (SQLAlchemyError, OSError):  # its commit may have come through
                await asyncio.sleep(0.05)
        committed.extend(numbers)


async def is_enqueued(database: Database, number: int) -> bool:
    while True:
        try:
            return bool(
                await rows(
                    database,
                    "SELECT 1 FROM jobs WHERE (arguments->>'number')::int = :number",
                    number=number,
                )
            )
        except (SQLAlchemyError, OSError):
            await asyncio.sleep(0.05)


def kill_and_restart(worker: WorkerProcess) -> None:
    worker.send_signal(signal.SIGKILL)
    if worker.process is not None:
        worker.process.wait()
    worker.start(60.0, wait=False)


async def until_all_succeeded(database: Database) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while left := await unfinished(database):
            assert not any(state == "failed" for state, _ in left), left
            await asyncio.sleep(0.2)


async def unfinished(database: Database) -> list[Any]:
    try:
        return await rows(
            database,
            "SELECT state, count(*) FROM jobs WHERE state <> 'succeeded' AND name <> 'tick' "
            "GROUP BY state",
        )
    except (SQLAlchemyError, OSError):
        return [("unknown", 1)]
