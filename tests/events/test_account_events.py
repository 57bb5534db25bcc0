"""Account changes reach a service that consumes them exactly once, whatever happens on the way."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from events_system import STREAM, System, log_in, register, until
from httpx2 import AsyncClient, HTTPError, Limits
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from auth import events, repository
from auth.models import Account
from service_platform.database import Database

FULL_SCALE = bool(os.environ.get("FULL_SCALE"))
"""Whether to take the time for as much as is hoped for, not only for what shows the same."""
REGISTRATIONS = 1_000 if FULL_SCALE else 300
AT_ONCE = 8
KILLS = 8 if FULL_SCALE else 6
CHANGED = 0.2

# What was applied to each account, in the order of the commits: one row for each time an event
# moved the account's place forward.
RECORD_APPLIED = """
    CREATE TABLE IF NOT EXISTS history (n bigserial, subject text, sequence bigint);
    CREATE OR REPLACE FUNCTION record_applied() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.sequence > 0 THEN
            INSERT INTO history (subject, sequence) VALUES (NEW.subject, NEW.sequence);
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER record_applied AFTER INSERT OR UPDATE ON inbox_subjects
    FOR EACH ROW EXECUTE FUNCTION record_applied();
"""


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(timeout=30.0, limits=Limits(max_connections=AT_ONCE)) as opened:
        yield opened


async def run_script(system: System, service: str, script: str) -> None:
    await asyncio.to_thread(system.postgres.execute, script, url=system.urls[service])


async def applied_everywhere(system: System) -> bool:
    """Nothing waits in the outbox, and every group has applied the whole stream."""
    if await system.sql("auth", "SELECT 1 FROM outbox WHERE entry_ms IS NULL LIMIT 1"):
        return False
    async with system.redis() as redis:
        groups: list[dict[str, Any]] = await redis.xinfo_groups(STREAM)
        info = await redis.xinfo_stream(STREAM)
    return len(groups) == 1 and all(
        not group["pending"] and group["last-delivered-id"] == info["last-generated-id"]
        for group in groups
    )


async def until_applied_everywhere(system: System) -> None:
    async def so() -> bool:
        return await applied_everywhere(system)

    await until(so, "every event applied")


async def profiles(system: System, ids: list[str]) -> int:
    [count] = await system.sql(
        "users", "SELECT count(*) FROM profiles WHERE id = ANY (CAST(:ids AS uuid[]))", ids=ids
    )
    return int(count)


async def test_two_replicas_of_each_service_apply_each_event_once(
    system: System, client: AsyncClient
) -> None:
    await run_script(system, "users", RECORD_APPLIED)
    ids = [
        await register(client, system.replicas["auth"][number % 2].url, f"two{number}@example.com")
        for number in range(20)
    ]
    await until_applied_everywhere(system)
    assert await profiles(system, ids) == 20
    history = await system.sql(
        "users", "SELECT subject FROM history WHERE subject = ANY (:ids)", ids=ids
    )
    assert sorted(history) == sorted(ids)


async def test_a_poison_event_lets_others_pass_and_is_replayed_after_the_fix(
    system: System, client: AsyncClient
) -> None:
    await run_script(
        system,
        "users",
        "ALTER TABLE profiles ADD CONSTRAINT mistake CHECK (email NOT LIKE 'poison%')",
    )
    auth = system.replicas["auth"][0].url
    poison = await register(client, auth, "poison@example.com")
    behind = [await register(client, auth, f"behind{number}@example.com") for number in range(5)]

    async def others_passed() -> bool:
        return await profiles(system, behind) == 5

    await until(others_passed, "events behind the poison one applied")

    async def given_up() -> bool:
        async with system.redis() as redis:
            return int(await redis.xlen(f"{STREAM}:dead:users")) == 1

    await until(given_up, "poison event among the dead letters")
    assert await profiles(system, [poison]) == 0
    listed = await asyncio.to_thread(system.events, "dead", "users", service="users")
    assert poison in listed
    assert "IntegrityError" in listed
    assert "poison@example.com" not in listed
    await run_script(system, "users", "ALTER TABLE profiles DROP CONSTRAINT mistake")
    replayed = await asyncio.to_thread(system.events, "replay", service="users")
    assert "users: 1 replayed" in replayed

    async def applied() -> bool:
        return await profiles(system, [poison]) == 1

    await until(applied, "replayed event applied")
    status = await asyncio.to_thread(system.events, "status", service="users")
    assert [line.split()[1] for line in status.splitlines()[1:]] == ["users"]


async def test_after_flushall_a_rebuild_restores_every_profile(
    system: System, client: AsyncClient
) -> None:
    """The worst case: nothing is left anywhere but auth's accounts."""
    auth = system.replicas["auth"][0].url
    ids = [await register(client, auth, f"lost{number}@example.com") for number in range(20)]
    closed = await register(client, auth, "closed@example.com")
    owner = await log_in(client, auth, "closed@example.com")
    await until_applied_everywhere(system)
    assert (await client.delete(f"{auth}/api/v1/auth/me", headers=owner)).status_code == 204
    await until_applied_everywhere(system)

    await system.sql("auth", "DELETE FROM outbox")
    async with system.redis() as redis:
        await redis.flushall()
    await system.sql("users", "DELETE FROM profiles")
    await system.sql("users", "DELETE FROM inbox")
    await system.sql("users", "DELETE FROM closed_accounts")
    await system.sql(
        "users",
        "INSERT INTO profiles (id, email) VALUES (CAST(:id AS uuid), 'closed@example.com')",
        id=closed,
    )

    printed = await asyncio.to_thread(system.events, "rebuild", "users")
    accounts = await system.sql("auth", "SELECT id FROM accounts")
    assert f"{len(accounts) + 1} events published for users" in printed

    async def restored() -> bool:
        found = await system.sql("users", "SELECT id FROM profiles")
        return sorted(found) == sorted(accounts)

    await until(restored, "every profile restored and the closed account's erased")
    assert await profiles(system, ids) == 20

    before = await system.sql("users", "SELECT id, email, version FROM profiles ORDER BY id")
    await asyncio.to_thread(system.events, "rebuild", "users")
    await until_applied_everywhere(system)
    assert before == await system.sql(
        "users", "SELECT id, email, version FROM profiles ORDER BY id"
    )


async def test_hundreds_of_registrations_survive_kills_and_restarts(
    system: System, client: AsyncClient
) -> None:
    """None lost, none applied twice, in order per account."""
    await run_script(system, "users", RECORD_APPLIED)
    await run_script(system, "users", "TRUNCATE history")
    chance = random.Random(20_261_123)
    emails = iter([f"many{number}@example.com" for number in range(REGISTRATIONS)])
    done: set[str] = set()

    async def registered(count: int) -> None:
        while len(done) < count:  # noqa: ASYNC110 - a few looks are simpler than an event for each
            await asyncio.sleep(0.02)

    async def disturb() -> None:
        """SIGKILL at random points, and one restart of each server."""
        victims = [*system.replicas["auth"], *system.replicas["users"]]
        kills = [chance.randrange(REGISTRATIONS) for _ in range(KILLS)]
        restarts = {
            chance.randrange(REGISTRATIONS * 3 // 10, REGISTRATIONS * 4 // 10): (
                system.postgres.restart
            ),
            chance.randrange(REGISTRATIONS * 6 // 10, REGISTRATIONS * 7 // 10): (
                system.redis_server.restart
            ),
        }
        for at in sorted([*kills, *restarts]):
            await registered(at)
            if at in restarts:
                await asyncio.to_thread(restarts[at])
            else:
                victim = chance.choice(victims)
                await asyncio.to_thread(system.kill, victim)
                victim.start(wait=False)

    async with system.database("auth") as accounts_database:

        async def register_and_change() -> None:
            for email in emails:
                await insist(client, system, chance, email)
                done.add(email)
                if chance.random() < CHANGED:
                    await change_roles(accounts_database, email)

        await asyncio.gather(disturb(), *[register_and_change() for _ in range(AT_ONCE)])
    await until_applied_everywhere(system)

    accounts = await system.sql("auth", "SELECT id FROM accounts WHERE email LIKE 'many%'")
    assert len(accounts) == REGISTRATIONS
    ids = [str(account) for account in accounts]
    assert await profiles(system, ids) == REGISTRATIONS, "none lost"
    published = dict(
        await system.sql(
            "auth", "SELECT event->>'subject', max(id) FROM outbox GROUP BY event->>'subject'"
        )
    )
    history = await system.sql("users", "SELECT subject, sequence FROM history ORDER BY n")
    assert len(history) == len(set(history)), "none applied twice"
    reached: dict[str, int] = {}
    for subject, sequence in history:
        assert sequence > reached.get(subject, 0), "in order per account"
        reached[subject] = sequence
    assert {subject: reached[subject] for subject in ids} == {
        subject: published[subject] for subject in ids
    }, "every account's last event applied"
    versions = await system.sql(
        "users",
        "SELECT DISTINCT version FROM profiles WHERE id = ANY (CAST(:ids AS uuid[]))",
        ids=ids,
    )
    assert versions == [1], "a profile made twice, or changed by an event that says nothing new"
    async with system.redis() as redis:
        assert not await redis.exists(f"{STREAM}:dead:users"), "no event is given up for a crash"


async def insist(client: AsyncClient, system: System, chance: random.Random, email: str) -> None:
    """Register through whichever replica answers, however often it takes."""
    body = {"email": email, "password": "a long phrase only we know"}
    async with asyncio.timeout(60):
        while True:
            url = chance.choice(system.replicas["auth"]).url
            try:
                answer = await client.post(f"{url}/api/v1/auth/register", json=body)
            except HTTPError:
                await asyncio.sleep(0.05)
                continue
            # 409: an earlier attempt was carried out and its answer was lost with the process.
            if answer.status_code in {201, 409}:
                return
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.05)


async def change_roles(database: Database, email: str) -> None:
    """Change an account by auth's own code, so that it has several events."""
    for roles in (["tester"], []):
        async with asyncio.timeout(60):
            while True:
                try:
                    async with database.session() as session:
                        account_id = await session.scalar(
                            select(Account.id).where(Account.email == email)
                        )
                        assert account_id is not None
                        await repository.account_to_change(session, account_id)
                        changed = await repository.change_account(session, account_id, roles=roles)
                        await events.publish_change(session, "updated", changed)
                        await session.commit()
                    break
                except (SQLAlchemyError, OSError):
                    await asyncio.sleep(0.05)
