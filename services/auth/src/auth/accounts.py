"""Registering an account, changing its password, erasing it."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, email_addresses, events, password_policy, repository, sessions
from auth.administration import require_other_admin
from auth.audit import AuditEvent
from auth.email_addresses import EmailAddress
from auth.repository import AccountRow
from auth.repository.admins import ADMIN
from auth.resources import AuthResources
from auth.schemas import AccountCreate, PasswordUpdate
from service_platform.errors import Conflict, Forbidden, NotFound
from service_platform.identity import Principal


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


async def register(
    session: AsyncSession, resources: AuthResources, account: AccountCreate
) -> AccountRow:
    """Register an account.

    Raises:
        ValidationFailed: where the password is not acceptable.
        EmailTaken: where the address has an account.
        ServiceUnavailable: where too many passwords are being hashed.
    """
    email = email_addresses.parse(account.email)
    password = account.password.get_secret_value()
    password_policy.require_acceptable(password, email, field="password")
    added = await repository.add_account(
        session,
        email=email.shown,
        email_key=email.key,
        full_name=account.full_name,
        password_hash=await resources.hasher.hash(password),
    )
    if added is None:
        raise EmailTaken
    await events.publish_change(session, "registered", added)
    return added


async def change_password(
    session: AsyncSession,
    resources: AuthResources,
    principal: Principal,
    change: PasswordUpdate,
    address: str,
) -> None:
    """Change the password of the caller's account and end every other session of it.

    Raises:
        WrongPassword: where the current one is not correct, or tried too often.
        ValidationFailed: where the new one is not acceptable.
        Conflict: where it was changed by another request meanwhile.
    """
    current = change.current_password.get_secret_value()
    new = change.new_password.get_secret_value()
    known = await repository.account_credentials(resources.database.reader, principal.subject)
    if known is None:
        raise NotFound
    email = EmailAddress(shown=known.email, key=known.email_key)
    password_policy.require_acceptable(new, email, field="new_password")
    attempt = resources.throttle.attempt(known.email_key, address)
    admitted = await resources.throttle.admit(attempt)
    correct = await resources.hasher.verify(current, known.password_hash if admitted else None)
    if not correct:
        if admitted:
            await resources.throttle.failed(attempt)
        reason = "wrong_password" if admitted else "throttled"
        await audit.record(
            session,
            AuditEvent.PASSWORD_CHANGE_REFUSED,
            account=principal.subject,
            session_id=principal.session_id,
            reason=reason,
        )
        await session.commit()
        raise WrongPassword
    await resources.throttle.succeeded(attempt)
    new_hash = await resources.hasher.hash(new)
    if await repository.password_to_change(session, principal.subject) != known.password_hash:
        raise Conflict("The password was changed by another request at the same time.")
    await repository.change_password(session, principal.subject, new_hash)
    await sessions.end_all_sessions(
        session,
        resources.broadcast,
        principal.subject,
        reason="password_changed",
        spared=principal.session_id,
    )
    await audit.record(
        session,
        AuditEvent.PASSWORD_CHANGED,
        account=principal.subject,
        session_id=principal.session_id,
    )


async def erase(session: AsyncSession, resources: AuthResources, account_id: UUID) -> None:
    """Erase an account; its tokens stop working everywhere, its data is erased everywhere.

    Raises:
        LastAdmin: where there is no other active admin.
        Conflict: where it became an admin at the same moment.
    """
    was_admin = await repository.is_admin(session, account_id)
    if was_admin:
        await repository.lock_admins(session)
    account = await repository.account_to_change(session, account_id)
    if account is None:
        return
    if ADMIN in account.roles:
        if not was_admin:
            raise Conflict("The account was changed by another request at the same time.")
        if account.is_active:
            await require_other_admin(session, account_id)
    await sessions.end_all_sessions(
        session, resources.broadcast, account_id, reason="account_closed"
    )
    await events.publish_change(session, "closed", account)
    await repository.erase_account(session, account_id)


__all__ = ["EmailTaken", "WrongPassword", "change_password", "erase", "register"]
