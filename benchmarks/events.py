"""Account events from auth to users: how many a second, and how long one takes from its commit."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text

from auth.settings import AuthSettings
from benchmarks.comparison import Table, interleaved, rows
from benchmarks.servers import server
from benchmarks.system import system
from service_platform.database import Database
from service_platform.events import publish
from service_platform.events.accounts import AccountRegistered
from service_platform.ids import new_id

BURST = 2_000
SINGLE = 20
POLL_SECONDS = 0.001
PATIENCE_SECONDS = 60.0


def run(*, rounds: int = 5, seconds: float = 2.0) -> Sequence[Table]:
    """Commit bursts and single events in auth's database; watch the profiles appear in users'."""
    del seconds
    with ExitStack() as stack:
        running = stack.enter_context(system())
        urls = {name: running.database(name) for name in ("auth", "users")}
        for core, name in enumerate(urls):
            stack.enter_context(
                server(
                    f"{name}.app:create_app",
                    path="/health/ready",
                    core=core,
                    environment=running.environment(name, urls[name]),
                    platform=True,
                )
            )
        bursts = interleaved(
            {"committed at once": lambda: asyncio.run(_burst(urls))}, rounds=rounds
        )
        delays = interleaved({"one event": lambda: asyncio.run(_delay(urls))}, rounds=rounds)
    return [
        Table(f"{BURST:,} account events applied by users", "events/s",
              rows(bursts, "committed at once")),
        Table("From commit in auth to applied in users, median", "ms", rows(delays, "one event")),
    ]  # fmt: skip


async def _burst(urls: dict[str, str]) -> float:
    """Events a second from the commit of many to the last one's effect."""
    auth, users = _database(urls["auth"]), _database(urls["users"])
    ids = [new_id() for _ in range(BURST)]
    try:
        await _publish(auth, ids)
        started = time.perf_counter()
        await _applied(users, ids)
        return BURST / (time.perf_counter() - started)
    finally:
        await auth.stop()
        await users.stop()


async def _delay(urls: dict[str, str]) -> float:
    """Median milliseconds from the commit of one event to its effect."""
    auth, users = _database(urls["auth"]), _database(urls["users"])
    measured = []
    try:
        for _ in range(SINGLE):
            account = new_id()
            await _publish(auth, [account])
            started = time.perf_counter()
            await _applied(users, [account])
            measured.append(time.perf_counter() - started)
    finally:
        await auth.stop()
        await users.stop()
    return sorted(measured)[SINGLE // 2] * 1000


def _database(url: str) -> Database:
    return Database(AuthSettings(database_url=SecretStr(url)), migrations="auth.migrations")


async def _publish(auth: Database, ids: Sequence[UUID]) -> None:
    async with auth.session() as session, session.begin():
        for account in ids:
            event = AccountRegistered(
                account_id=account,
                email=f"{account}@example.com",
                full_name=None,
                roles=[],
                is_active=True,
                created_at=datetime.now(UTC),
            )
            await publish(session, event)


async def _applied(users: Database, ids: Sequence[UUID]) -> None:
    """Return when every account has its profile."""
    count = text("SELECT count(*) FROM profiles WHERE id = ANY (CAST(:ids AS uuid[]))")
    async with asyncio.timeout(PATIENCE_SECONDS), users.engine.connect() as connection:
        reading = await connection.execution_options(isolation_level="AUTOCOMMIT")
        while await reading.scalar(count, {"ids": list(ids)}) != len(ids):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
