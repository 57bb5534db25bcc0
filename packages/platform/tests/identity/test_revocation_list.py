"""The revocation list: what was revoked is refused, within bounds of memory."""

import time
from uuid import UUID

from packages.platform.tests.identity.revoked_tokens import LATER, now_ms, verified_token

from service_platform.identity import Principal, Revocation
from service_platform.identity.revocation_list import RevocationList, VerifiedToken
from service_platform.ids import new_id


def principal(*, session: UUID | None, token_id: str) -> Principal:
    return Principal(
        subject=new_id(),
        client_id="tests",
        scopes=frozenset(),
        roles=frozenset(),
        session_id=session,
        token_id=token_id,
        expires_at=LATER,
        issued_at=1_000,
    )


def test_a_verified_token_knows_when_its_session_began() -> None:
    session = new_id()
    token = VerifiedToken.of(principal(session=session, token_id="1"))
    assert token.revocation_id == session
    assert token.session_started_ms == session.int >> 80
    assert token.issued_ms == 1_000_000


def test_a_token_without_a_session_is_revoked_by_its_own_id() -> None:
    token_id = new_id()
    token = VerifiedToken.of(principal(session=None, token_id=str(token_id)))
    assert token.revocation_id == token_id
    other = VerifiedToken.of(principal(session=None, token_id="not a UUID"))
    assert other.revocation_id is None
    assert other.session_started_ms == other.issued_ms == 1_000_000


def test_an_ended_session_is_refused_and_others_are_not() -> None:
    revoked, session = RevocationList(), new_id()
    revoked.add(Revocation("session", session, at=now_ms(), until=LATER))
    assert revoked.is_revoked(verified_token(session=session))
    assert not revoked.is_revoked(verified_token(session=new_id()))


def test_a_single_token_without_a_session_can_be_refused() -> None:
    revoked, token = RevocationList(), verified_token()
    assert token.revocation_id is not None
    revoked.add(Revocation("token", token.revocation_id, at=now_ms(), until=LATER))
    assert revoked.is_revoked(token)
    assert not revoked.is_revoked(verified_token(subject=token.principal.subject))


def test_a_closed_account_refuses_sessions_begun_before_and_none_begun_after() -> None:
    revoked, subject, before = RevocationList(), new_id(), new_id()
    revoked.add(Revocation("account", subject, at=before.int >> 80, until=LATER))
    time.sleep(0.002)
    assert revoked.is_revoked(verified_token(subject=subject, session=before))
    assert not revoked.is_revoked(verified_token(subject=subject, session=new_id()))
    assert not revoked.is_revoked(verified_token(session=before))


def test_the_spared_session_is_not_revoked() -> None:
    revoked, subject, mine, other = RevocationList(), new_id(), new_id(), new_id()
    revoked.add(Revocation("account", subject, at=now_ms(), until=LATER, spared=mine))
    assert not revoked.is_revoked(verified_token(subject=subject, session=mine))
    assert revoked.is_revoked(verified_token(subject=subject, session=other))


def test_entries_in_the_wrong_order_end_in_the_same_state() -> None:
    subject, mine = new_id(), new_id()
    password_changed = Revocation("account", subject, at=now_ms(), until=LATER, spared=mine)
    closed = Revocation("account", subject, at=now_ms() + 1, until=LATER)
    for order in ([password_changed, closed], [closed, password_changed]):
        revoked = RevocationList()
        for entry in order:
            revoked.add(entry)
        assert revoked.is_revoked(verified_token(subject=subject, session=mine))


def test_everybody_can_be_logged_out() -> None:
    revoked, before = RevocationList(), new_id()
    revoked.add(Revocation("all", None, at=now_ms(), until=LATER))
    time.sleep(0.002)
    assert revoked.is_revoked(verified_token(session=before))
    assert not revoked.is_revoked(verified_token(session=new_id()))


def test_entries_are_removed_when_every_token_has_expired() -> None:
    revoked, session = RevocationList(), new_id()
    revoked.add(Revocation("session", session, at=now_ms(), until=100))
    revoked.add(Revocation("account", new_id(), at=now_ms(), until=200))
    revoked.remove_expired(150)
    assert len(revoked) == 1
    revoked.remove_expired(250)
    assert len(revoked) == 0


def test_the_memory_is_bounded_and_nothing_revoked_gets_through() -> None:
    revoked = RevocationList(max_entries=100)
    past = int(time.time()) - 60
    sessions = [new_id() for _ in range(1000)]
    for position, session in enumerate(sessions):
        revoked.add(Revocation("session", session, at=past * 1000 + position, until=LATER))
    assert len(revoked) <= 100
    assert all(
        revoked.is_revoked(verified_token(session=session, issued_at=past - 1))
        for session in sessions
    )
    # A live session is refused until it refreshes: its next token is newer than what was evicted.
    assert not revoked.is_revoked(verified_token(session=new_id(), issued_at=past + 2))
