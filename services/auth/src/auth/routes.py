"""The HTTP API of accounts and sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from auth import accounts, administration, repository, sessions
from auth.accounts import EmailTaken, WrongPassword
from auth.administration import LastAdmin
from auth.dependencies import Admin, CurrentCaller, CurrentOwner, Resources
from auth.repository import AccountRow
from auth.schemas import (
    AccountCreate,
    AccountPage,
    AccountRead,
    AccountUpdate,
    PasswordUpdate,
    SessionList,
    SessionRead,
)
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import Conflict, InvalidCursor, NotFound, responses
from service_platform.pagination import KeysetPage, PageQuery
from service_platform.ratelimit import limit
from service_platform.text import OneLine

router = APIRouter(prefix="/auth", tags=["accounts"])


@router.post(
    "/register",
    status_code=201,
    summary="Register an account",
    response_model=AccountRead,
    responses=responses(EmailTaken),
)
@limit("60/minute", by="address", fallback="10/minute")
async def register(account: AccountCreate, session: DbSession, resources: Resources) -> AccountRow:
    """Register an account. Log in with `POST /auth/token` afterwards."""
    return await accounts.register(session, resources, account)


@router.get("/me", summary="Get the account of the caller", response_model=AccountRead)
async def read_own_account(owner: CurrentOwner) -> AccountRow:
    """Return the account of the caller, as it is now."""
    return owner.account


@router.delete(
    "/me",
    status_code=204,
    summary="Erase the account of the caller",
    responses=responses(LastAdmin, Conflict),
)
async def erase_own_account(owner: CurrentOwner, session: DbSession, resources: Resources) -> None:
    """Erase the account: tokens stop working at once, data of every service is deleted.

    The only active admin has to make another one first.
    """
    await accounts.erase(session, resources, owner.account.id)


@router.put(
    "/password",
    status_code=204,
    summary="Change the password",
    responses=responses(WrongPassword, Conflict),
)
@limit("30/minute", fallback="5/minute")
async def change_password(
    change: PasswordUpdate,
    owner: CurrentOwner,
    session: DbSession,
    resources: Resources,
    caller: CurrentCaller,
) -> None:
    """Change the password. Every other session ends; this one goes on."""
    await accounts.change_password(session, resources, owner.principal, change, caller.address)


@router.get("/sessions", summary="List the sessions of the caller")
async def list_sessions(owner: CurrentOwner, reader: DbReader) -> SessionList:
    """List where the caller is logged in."""
    rows = await sessions.live_sessions(reader, owner.principal)
    return SessionList(
        items=[
            SessionRead(
                id=row.id,
                client_id=row.client_id,
                scope=row.scope,
                created_at=row.created_at,
                last_used_at=row.last_used_at,
                expires_at=row.idle_until,
                user_agent=row.user_agent,
                address=row.address,
                current=row.id == owner.principal.session_id,
            )
            for row in rows
        ]
    )


@router.delete("/sessions", status_code=204, summary="End every session of the caller")
async def end_every_session(owner: CurrentOwner, session: DbSession, resources: Resources) -> None:
    """Log out everywhere, here too."""
    await sessions.end_own_sessions(session, resources.broadcast, owner.principal)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End one session of the caller",
    responses=responses(NotFound),
)
async def end_session(
    session_id: UUID, owner: CurrentOwner, session: DbSession, resources: Resources
) -> None:
    """Log out one of the caller's sessions."""
    await sessions.end_session(session, resources.broadcast, owner.principal, session_id)


@router.get(
    "/accounts",
    summary="List accounts, the newest first",
    response_model=AccountPage,
    responses=responses(InvalidCursor),
)
async def list_accounts(
    _: Admin,
    reader: DbReader,
    page: PageQuery,
    q: Annotated[
        OneLine | None,
        Query(max_length=254, description="Beginning of the address, or part of the name."),
    ] = None,
) -> KeysetPage[AccountRow]:
    """List all accounts, page by page; for admins."""
    return await repository.page_of_accounts(reader, page, q)


@router.patch(
    "/accounts/{account_id}",
    summary="Change state or roles of an account",
    response_model=AccountRead,
    responses=responses(NotFound, Conflict, LastAdmin),
)
async def administer_account(
    account_id: UUID,
    change: AccountUpdate,
    admin: Admin,
    session: DbSession,
    resources: Resources,
) -> AccountRow:
    """Change state or roles of an account; for admins.

    Deactivating an account, or taking a role away, ends its sessions.
    """
    return await administration.update_account(session, resources, admin, account_id, change)
