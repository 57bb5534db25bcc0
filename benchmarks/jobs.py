"""Jobs a second, and from commit to effect, beside two libraries used bare.

Each job writes a row. Of the platform's the row and the record of its success are one transaction;
the libraries record it afterwards, many at once.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from procrastinate import App, PsycopgConnector
from pydantic import SecretStr

from benchmarks.apps import jobs_platform
from benchmarks.comparison import Table, interleaved, rows
from benchmarks.cores import pin
from benchmarks.servers import ROOT
from benchmarks.system import PASSWORD, System, system
from service_platform.database import Database
from service_platform.jobs import JobSettings, enqueue
from service_testing.ports import free_port

BURST = 2_000
SINGLE = 20
POLL_SECONDS = 0.001
PATIENCE_SECONDS = 120.0
WORKERS = {
    "platform": ["service_platform.worker", "benchmarks.apps.jobs_platform:make"],
    "PgQueuer": ["benchmarks.apps.jobs_pgqueuer"],
    "Procrastinate": ["benchmarks.apps.jobs_procrastinate"],
}

Enqueue = Callable[[str, int], Awaitable[None]]


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Enqueue bursts and single jobs with each; watch their rows appear."""
    del seconds
    with system() as running:
        urls = {name: _database(running, name) for name in WORKERS}
        asyncio.run(_make_tables(urls))
        bursts = interleaved(_contestants(running, urls, _burst), rounds=rounds)
        delays = interleaved(_contestants(running, urls, _delay), rounds=rounds)
    return [
        Table(f"{BURST:,} jobs, one worker", "jobs/s", rows(bursts, "platform")),
        Table("From commit to the effect of the job, median", "ms", rows(delays, "platform")),
    ]


def _contestants(
    running: System,
    urls: Mapping[str, str],
    measure: Callable[[str, Enqueue], Awaitable[float]],
) -> dict[str, Callable[[], float]]:
    """The measurement with each worker, of which one runs at a time."""

    def contestant(name: str, url: str) -> Callable[[], float]:
        def once() -> float:
            with _worker(running, name, url):
                return asyncio.run(measure(url, ENQUEUE[name]))  # type: ignore[arg-type]

        return once

    return {name: contestant(name, url) for name, url in urls.items()}


def _database(running: System, name: str) -> str:
    role = f"jobs_{name.lower()}"
    running.postgres.create_role(role, PASSWORD)
    running.postgres.create_database(role, owner=role)
    return running.postgres.url_for(role, user=role, password=PASSWORD)


async def _make_tables(urls: Mapping[str, str]) -> None:
    for url in urls.values():
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE effects (number int)")
        await connection.close()
    platform = _platform_database(urls["platform"])
    async with platform.engine.begin() as opened:
        await opened.run_sync(jobs_platform.metadata.create_all)
    await platform.stop()
    bare = await asyncpg.connect(urls["PgQueuer"])
    await Queries(AsyncpgDriver(bare)).install()
    await bare.close()
    app = App(connector=PsycopgConnector(conninfo=urls["Procrastinate"]))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


@contextmanager
def _worker(running: System, name: str, url: str) -> Iterator[None]:
    """Run a worker on a core of its own, and wait until it has run a first job."""
    environment = {
        **os.environ,
        **running.environment("jobs", url),
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
    }
    log = ROOT / "benchmarks" / "results" / f"jobs-{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *WORKERS[name]],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
        )
    pin(process.pid, 1)
    try:
        asyncio.run(_until_effects(url, ENQUEUE[name], 1))
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _until_effects(url: str, enqueue_some: Enqueue, number: int) -> float:
    """Enqueue jobs; return the seconds from their commit until all have had their effect."""
    watching = await asyncpg.connect(url)
    try:
        await watching.execute("TRUNCATE effects")
        await enqueue_some(url, number)
        started = time.perf_counter()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await watching.fetchval("SELECT count(*) FROM effects") < number:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - started
    finally:
        await watching.close()


async def _burst(url: str, enqueue_some: Enqueue) -> float:
    """Jobs a second of many that were committed at once."""
    return BURST / await _until_effects(url, enqueue_some, BURST)


async def _delay(url: str, enqueue_some: Enqueue) -> float:
    """Median milliseconds from the commit of one job to its effect."""
    measured = [await _until_effects(url, enqueue_some, 1) for _ in range(SINGLE)]
    return sorted(measured)[SINGLE // 2] * 1000


def _platform_database(url: str) -> Database:
    return Database(JobSettings(database_url=SecretStr(url)), migrations=None)


async def _enqueue_platform(url: str, number: int) -> None:
    database = _platform_database(url)
    async with database.session() as session, session.begin():
        for each in range(number):
            await enqueue(session, jobs_platform.write, number=each)
    await database.stop()


async def _enqueue_pgqueuer(url: str, number: int) -> None:
    connection = await asyncpg.connect(url)
    queue = Queries(AsyncpgDriver(connection))
    payloads: list[bytes | None] = [str(each).encode() for each in range(number)]
    await queue.enqueue(["write"] * number, payloads, [0] * number)
    await connection.close()


async def _enqueue_procrastinate(url: str, number: int) -> None:
    app = App(connector=PsycopgConnector(conninfo=url))
    async with app.open_async():
        task = app.configure_task("write")
        await task.batch_defer_async(*({"number": each} for each in range(number)))


ENQUEUE: dict[str, Enqueue] = {
    "platform": _enqueue_platform,
    "PgQueuer": _enqueue_pgqueuer,
    "Procrastinate": _enqueue_procrastinate,
}
