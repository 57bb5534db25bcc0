"""What was revoked is refused: heard within a second, remembered without Redis, within bounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import redis

from service_platform.identity import Principal, Revocation, Revocations
from service_platform.identity.revocation import STREAM, Credential, RevocationList
from service_platform.ids import new_id
from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings
from service_testing.valkey import LocalValkey

LATER = int(time.time()) + 600


def credential(
    *, subject: UUID | None = None, session: UUID | None = None, issued_at: int | None = None
) -> Credential:
    return Credential.of(
        Principal(
            subject=subject or new_id(),
            client_id="tests",
            scopes=frozenset(),
            roles=frozenset(),
            session_id=session,
            token_id=str(new_id()),
            expires_at=LATER,
            issued_at=int(time.time()) if issued_at is None else issued_at,
        )
    )


def now_ms() -> int:
    return int(time.time() * 1000)


def test_an_ended_session_is_refused_and_others_are_not() -> None:
    revoked, session = RevocationList(), new_id()
    revoked.apply(Revocation("session", session, at=now_ms(), until=LATER))
    assert revoked.refuses(credential(session=session))
    assert not revoked.refuses(credential(session=new_id()))


def test_a_single_token_without_a_session_can_be_refused() -> None:
    revoked, token = RevocationList(), credential()
    assert token.key is not None
    revoked.apply(Revocation("token", token.key, at=now_ms(), until=LATER))
    assert revoked.refuses(token)
    assert not revoked.refuses(credential(subject=token.principal.subject))


def test_a_closed_account_refuses_sessions_begun_before_and_none_begun_after() -> None:
    revoked, subject, before = RevocationList(), new_id(), new_id()
    revoked.apply(Revocation("account", subject, at=before.int >> 80, until=LATER))
    time.sleep(0.002)
    assert revoked.refuses(credential(subject=subject, session=before))
    assert not revoked.refuses(credential(subject=subject, session=new_id()))
    assert not revoked.refuses(credential(session=before))


def test_the_spared_session_goes_on() -> None:
    revoked, subject, mine, other = RevocationList(), new_id(), new_id(), new_id()
    revoked.apply(Revocation("account", subject, at=now_ms(), until=LATER, spared=mine))
    assert not revoked.refuses(credential(subject=subject, session=mine))
    assert revoked.refuses(credential(subject=subject, session=other))


def test_entries_in_the_wrong_order_end_in_the_same_state() -> None:
    subject, mine = new_id(), new_id()
    password_changed = Revocation("account", subject, at=now_ms(), until=LATER, spared=mine)
    closed = Revocation("account", subject, at=now_ms() + 1, until=LATER)
    for order in ([password_changed, closed], [closed, password_changed]):
        revoked = RevocationList()
        for entry in order:
            revoked.apply(entry)
        assert revoked.refuses(credential(subject=subject, session=mine))


def test_everybody_can_be_logged_out() -> None:
    revoked, before = RevocationList(), new_id()
    revoked.apply(Revocation("all", None, at=now_ms(), until=LATER))
    time.sleep(0.002)
    assert revoked.refuses(credential(session=before))
    assert not revoked.refuses(credential(session=new_id()))


def test_entries_are_forgotten_when_no_token_can_be_alive() -> None:
    revoked, session = RevocationList(), new_id()
    revoked.apply(Revocation("session", session, at=now_ms(), until=100))
    revoked.apply(Revocation("account", new_id(), at=now_ms(), until=200))
    revoked.purge(150)
    assert len(revoked) == 1
    revoked.purge(250)
    assert len(revoked) == 0


def test_the_memory_is_bounded_and_nothing_revoked_gets_through() -> None:
    revoked = RevocationList(max_entries=100)
    past = int(time.time()) - 60
    sessions = [new_id() for _ in range(1000)]
    for position, session in enumerate(sessions):
        revoked.apply(Revocation("session", session, at=past * 1000 + position, until=LATER))
    assert len(revoked) <= 100
    assert all(
        revoked.refuses(credential(session=session, issued_at=past - 1)) for session in sessions
    )
    # A live session is refused until it refreshes: its next token is newer than what was folded.
    assert not revoked.refuses(credential(session=new_id(), issued_at=past + 2))


def test_an_entry_survives_the_stream() -> None:
    entry = Revocation("account", new_id(), at=5, until=6, spared=new_id())
    fields = {name.encode(): value.encode() for name, value in entry.fields().items()}
    assert Revocation.of_fields(fields) == entry


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"kind": b"session"},
        {b"kind": b"session", b"id": b"x", b"at": b"1", b"until": b"2"},
        {b"kind": b"session", b"at": b"1", b"until": b"2"},
        {b"kind": b"planet", b"id": b"1", b"at": b"1", b"until": b"2"},
        {b"kind": b"all", b"at": b"\xff", b"until": b"2"},
    ],
)
def test_an_entry_of_another_release_is_skipped(fields: dict[bytes, bytes]) -> None:
    assert Revocation.of_fields(fields) is None


def tell(url: str, entry: Revocation) -> None:
    with redis.Redis.from_url(url) as client:
        client.xadd(STREAM, entry.fields())


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another program
            await asyncio.sleep(0.005)


@asynccontextmanager
async def following(settings: PlatformSettings) -> AsyncIterator[Revocations]:
    revocations = Revocations(settings)
    await revocations.start()
    try:
        yield revocations
    finally:
        await revocations.stop()


SettingsFor = Callable[..., PlatformSettings]


async def test_a_revocation_is_heard(settings_for: SettingsFor, redis_url: str) -> None:
    mine = credential(session=new_id())
    async with following(settings_for("http://auth.test")) as revocations:
        assert not revocations.refuses(mine)
        tell(redis_url, Revocation("session", mine.key, at=now_ms(), until=LATER))
        await until(lambda: revocations.refuses(mine), seconds=1.0)


async def test_a_new_process_knows_what_was_revoked_before(
    settings_for: SettingsFor, redis_url: str
) -> None:
    gone = [credential(session=new_id()) for _ in range(2_500)]
    with redis.Redis.from_url(redis_url) as client:
        pipeline = client.pipeline(transaction=False)
        for each in gone:
            pipeline.xadd(STREAM, Revocation("session", each.key, now_ms(), LATER).fields())
        pipeline.execute()
    async with following(settings_for("http://auth.test")) as revocations:
        assert all(revocations.refuses(each) for each in gone)


async def test_an_entry_that_is_not_understood_does_not_stop_the_next(
    settings_for: SettingsFor, redis_url: str
) -> None:
    mine = credential(session=new_id())
    async with following(settings_for("http://auth.test")) as revocations:
        with redis.Redis.from_url(redis_url) as client:
            client.xadd(STREAM, {"kind": "planet"})
        tell(redis_url, Revocation("session", mine.key, at=now_ms(), until=LATER))
        await until(lambda: revocations.refuses(mine))


async def test_what_was_heard_is_refused_while_redis_is_away_and_news_come_with_it(
    settings_for: SettingsFor, own_redis: LocalValkey
) -> None:
    before, after = credential(session=new_id()), credential(session=new_id())
    async with following(settings_for("http://auth.test", redis_url=own_redis.url)) as revocations:
        await revocations.check()
        tell(own_redis.url, Revocation("session", before.key, at=now_ms(), until=LATER))
        await until(lambda: revocations.refuses(before))
        own_redis.kill()
        await until(lambda: not revocations._following.is_set())
        with pytest.raises(HealthCheckError, match="revocations_unavailable"):
            await revocations.check()
        assert revocations.refuses(before)
        own_redis.start()  # it comes back empty, as after a failover without persistence
        tell(own_redis.url, Revocation("session", after.key, at=now_ms(), until=LATER))
        await until(lambda: revocations.refuses(after), seconds=10)
        assert revocations.refuses(before)
        await revocations.check()


async def test_a_service_starts_without_redis(
    settings_for: SettingsFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service_platform.identity.revocation.START_SECONDS", 0.1)
    async with following(
        settings_for("http://auth.test", redis_url="redis://127.0.0.1:1/0")
    ) as revocations:
        with pytest.raises(HealthCheckError):
            await revocations.check()
