"""What admins and operators change of accounts: state and roles. There is always an active admin.

Every change that takes an admin's access away holds the lock of `repository.lock_admins`, taken
before the account's row is locked.
"""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, events, repository, sessions
from auth.audit import AuditEvent
from auth.broadcast import Broadcast
from auth.repository import AccountRow
from auth.repository.admins import ADMIN
from auth.resources import AuthResources
from auth.schemas import AccountUpdate
from service_platform.errors import Conflict, Forbidden, NotFound
from service_platform.identity import Principal


class LastAdmin(Conflict):
    """The account is the only active admin. Give another account the role admin first."""

    slug = "last-admin"
    title = "Last admin"
    default_message = "The account is the only active admin; make another one first."


async def require_other_admin(session: AsyncSession, account_id: UUID) -> None:
    """Make sure that there is an active admin without this account; `lock_admins` must be held.

    Raises:
        LastAdmin: where there is none.
    """
    if not await repository.other_admin_exists(session, account_id):
        raise LastAdmin


async def update_account(
    session: AsyncSession,
    resources: AuthResources,
    admin: Principal,
    account_id: UUID,
    change: AccountUpdate,
) -> AccountRow:
    """Change state or roles of an account.

    Deactivating, and taking a role away, end its sessions: tokens that say otherwise must not
    go on.

    Raises:
        Forbidden: where the caller is no admin any more.
        NotFound: where there is no such account.
        Conflict: where an admin would take their own access away, or the last admin's.
    """
    await repository.lock_admins(session)
    if not await repository.is_active_admin(session, admin.subject):
        raise Forbidden(f"This needs the role {ADMIN}.")
    account = await repository.account_to_change(session, account_id)
    if account is None:
        raise NotFound
    roles = account.roles if change.roles is None else sorted(set(change.roles))
    active = account.is_active if change.is_active is None else change.is_active
    if account_id == admin.subject and (not active or ADMIN not in roles):
        raise Conflict("Admins cannot take their own access away; ask another admin.")
    if (roles, active) == (account.roles, account.is_active):
        return account
    if _is_admin(account) and not (active and ADMIN in roles):
        await require_other_admin(session, account_id)
    changed = await repository.change_account(session, account_id, roles=roles, is_active=active)
    if not active or set(account.roles) - set(roles):
        await sessions.end_all_sessions(
            session, resources.broadcast, account_id, reason="changed_by_admin"
        )
    await audit.record(
        session,
        AuditEvent.ACCOUNT_ADMINISTERED,
        account=account_id,
        by=admin.subject,
        roles=roles,
        is_active=active,
    )
    await events.publish_change(session, "updated", changed)
    return changed


async def grant_admin(session: AsyncSession, account_id: UUID) -> None:
    """Give an account the role admin; its tokens have it from the next refresh on.

    Raises:
        NotFound: where there is no such account.
    """
    account = await _account(session, account_id)
    roles = sorted({*account.roles, ADMIN})
    changed = await repository.change_account(session, account_id, roles=roles)
    await audit.record(session, AuditEvent.ROLE_GRANTED, account=account_id, role=ADMIN)
    await events.publish_change(session, "updated", changed)


async def withdraw_admin(
    session: AsyncSession, broadcast: Broadcast, account_id: UUID, *, force: bool
) -> None:
    """Take the role admin from an account and end its sessions.

    Args:
        session: the unit of work.
        broadcast: tells the services.
        account_id: the account.
        force: also where it is the only active admin.

    Raises:
        NotFound: where there is no such account.
        LastAdmin: where there is no other active admin.
    """
    await repository.lock_admins(session)
    account = await _account(session, account_id)
    if _is_admin(account) and not force:
        await require_other_admin(session, account_id)
    roles = sorted(set(account.roles) - {ADMIN})
    changed = await repository.change_account(session, account_id, roles=roles)
    await sessions.end_all_sessions(session, broadcast, account_id, reason="changed_by_admin")
    await audit.record(session, AuditEvent.ROLE_WITHDRAWN, account=account_id, role=ADMIN)
    await events.publish_change(session, "updated", changed)


async def deactivate(session: AsyncSession, account_id: UUID) -> bool:
    """Refuse logins of an account, in an emergency also of the only active admin.

    Returns:
        Whether there still is an active admin, where the account was one.

    Raises:
        NotFound: where there is no such account.
    """
    await repository.lock_admins(session)
    account = await _account(session, account_id)
    changed = await repository.change_account(session, account_id, is_active=False)
    await audit.record(
        session, AuditEvent.ACCOUNT_ADMINISTERED, account=account_id, is_active=False
    )
    await events.publish_change(session, "updated", changed)
    return not _is_admin(account) or await repository.other_admin_exists(session, account_id)


async def _account(session: AsyncSession, account_id: UUID) -> AccountRow:
    account = await repository.account_to_change(session, account_id)
    if account is None:
        raise NotFound
    return account


def _is_admin(account: AccountRow) -> bool:
    return account.is_active and ADMIN in account.roles


__all__ = [
    "LastAdmin",
    "deactivate",
    "grant_admin",
    "require_other_admin",
    "update_account",
    "withdraw_admin",
]
