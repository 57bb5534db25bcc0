"""Accounts and their sessions: what people and admins can do with them.

Logging in and refreshing are in `grants.py`.
"""

import time
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, email_addresses, events, password_policy, repository
from auth.broadcast import Broadcast
from auth.email_addresses import EmailAddress
from auth.passwords import PasswordHasher
from auth.repository import Record
from auth.schemas import AccountChange, PasswordChange, Registration
from auth.throttle import LoginThrottle
from service_platform.database import Database, Reader
from service_platform.errors import Conflict, Forbidden, NotFound
from service_platform.identity import Principal

ADMIN: Final = "admin"


class EmailTaken(Conflict):
    """There is an account with this address. Log in, or use another address."""

    slug = "email-taken"
    title = "Address is taken"
    default_message = "There is an account with this address already."


class WrongPassword(Forbidden):
    """The current password is not correct, or it was tried too often in a short time."""

    slug = "wrong-password"
    title = "Wrong password"
    default_message = "The current password is not correct."


async def announce(session: AsyncSession, event: events.Change, account: Record) -> None:
    """Where other services learn of an account, in the transaction of the change.

    Args:
        session: the unit of work; what is written to it counts only if the change does.
        event: what happened.
        account: the account as it is now (or was, where it is closed).
    """
    await events.tell(session, event, account)
    audit.record(f"account_{event}", account=account.id)


async def end_all_sessions(
    session: AsyncSession,
    broadcast: Broadcast,
    account_id: UUID,
    *,
    reason: str,
    spared: UUID | None = None,
) -> int:
    """End an account's sessions and tell every service; the account's row must be locked.

    Returns:
        How many were ended.
    """
    ended = await repository.end_sessions(session, account_id, reason=reason, spared=spared)
    at = ended_until(ended)
    await repository.change_account(session, account_id, sessions_ended_at=at)
    await broadcast.record(session, "account", account_id, at=at, spared=spared)
    audit.record("sessions_ended", account=account_id, sessions=len(ended), reason=reason)
    return len(ended)


def ended_until(sessions: Sequence[UUID]) -> int:
    """Milliseconds since the epoch that no ended session began after.

    Session ids tell when they began, by the clock of the replica that made them: it may be ahead of
    this one's.
    """
    return max(int(time.time() * 1000), *(session.int >> 80 for session in sessions), 0)


class Accounts:
    """The acts on accounts, each within the caller's unit of work.

    Args:
        database: for what must not hold a connection while a password is hashed.
        hasher: hashes and verifies passwords.
        throttle: slows guessing down.
        broadcast: tells services which sessions are over.
    """

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        throttle: LoginThrottle,
        broadcast: Broadcast,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._throttle = throttle
        self._broadcast = broadcast

    async def register(self, session: AsyncSession, registration: Registration) -> Record:
        """Make an account.

        Raises:
            ValidationFailed: where the password is not acceptable.
            EmailTaken: where the address has an account.
            ServiceUnavailable: where too many passwords are being hashed.
        """
        email = email_addresses.parse(registration.email)
        password = registration.password.get_secret_value()
        password_policy.require_acceptable(password, email, field="password")
        account = await repository.add_account(
            session,
            email=email.shown,
            email_key=email.key,
            full_name=registration.full_name,
            password_hash=await self._hasher.hash(password),
        )
        if account is None:
            raise EmailTaken
        await announce(session, "registered", account)
        return account

    async def change_password(
        self, session: AsyncSession, principal: Principal, change: PasswordChange, address: str
    ) -> None:
        """Set a new password and end every other session.

        Raises:
            WrongPassword: where the current one is not correct, or tried too often.
            ValidationFailed: where the new one is not acceptable.
        """
        current = change.current_password.get_secret_value()
        new = change.new_password.get_secret_value()
        known = await repository.account_credentials(self._database.reader, principal.subject)
        if known is None:
            raise NotFound
        email = EmailAddress(shown=known.email, key=known.email_key)
        password_policy.require_acceptable(new, email, field="new_password")
        attempt = self._throttle.attempt(known.email_key, address)
        admitted = await self._throttle.admit(attempt)
        correct = await self._hasher.verify(current, known.password_hash if admitted else None)
        if not correct:
            if admitted:
                await self._throttle.failed(attempt)
            audit.record("password_change_refused", account=principal.subject)
            raise WrongPassword
        await self._throttle.succeeded(attempt)
        new_hash = await self._hasher.hash(new)
        account = await repository.account_to_change(session, principal.subject)
        if account is None or account.password_hash != known.password_hash:
            raise Conflict("The password was changed by another request at the same time.")
        await repository.change_password(session, account.id, new_hash)
        await end_all_sessions(
            session,
            self._broadcast,
            account.id,
            reason="password_changed",
            spared=principal.session_id,
        )
        audit.record("password_changed", account=account.id)

    async def erase(self, session: AsyncSession, account_id: UUID) -> None:
        """Erase an account; its tokens stop working everywhere, its data is erased everywhere."""
        account = await repository.account_to_change(session, account_id)
        if account is None:
            return
        await end_all_sessions(session, self._broadcast, account_id, reason="account_closed")
        await announce(session, "closed", account)
        await repository.erase_account(session, account_id)

    async def administer(
        self, session: AsyncSession, admin: Principal, account_id: UUID, change: AccountChange
    ) -> Record:
        """Change state or roles of an account.

        Deactivating, and taking a role away, end its sessions: tokens that say otherwise must not
        go on.

        Raises:
            NotFound: where there is no such account.
            Conflict: where an admin would lock themselves out.
        """
        account = await repository.account_to_change(session, account_id)
        if account is None:
            raise NotFound
        roles = account.roles if change.roles is None else sorted(set(change.roles))
        active = account.is_active if change.is_active is None else change.is_active
        if account_id == admin.subject and (not active or ADMIN not in roles):
            raise Conflict("Admins cannot take their own access away; ask another admin.")
        if (roles, active) == (account.roles, account.is_active):
            return account
        changed = await repository.change_account(
            session, account_id, roles=roles, is_active=active
        )
        if not active or set(account.roles) - set(roles):
            await end_all_sessions(session, self._broadcast, account_id, reason="changed_by_admin")
        audit.record(
            "account_administered",
            account=account_id,
            by=admin.subject,
            roles=roles,
            is_active=active,
        )
        await announce(session, "updated", changed)
        return changed

    async def end_session(
        self, session: AsyncSession, principal: Principal, session_id: UUID
    ) -> None:
        """End one session of the caller.

        Raises:
            NotFound: where the caller has no such session.
        """
        if not await repository.end_session(
            session, session_id, reason="ended_by_owner", account_id=principal.subject
        ):
            raise NotFound
        await self._broadcast.record(session, "session", session_id)
        audit.record("session_ended", account=principal.subject, session=session_id)

    async def end_every_session(self, session: AsyncSession, principal: Principal) -> None:
        """End every session of the caller, this one too."""
        if await repository.account_to_change(session, principal.subject) is not None:
            await end_all_sessions(
                session, self._broadcast, principal.subject, reason="ended_by_owner"
            )

    async def sessions(self, reader: Reader, principal: Principal) -> list[Record]:
        """Sessions of the caller that go on."""
        return await repository.live_sessions(reader, principal.subject)
