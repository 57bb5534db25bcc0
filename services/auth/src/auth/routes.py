"""The HTTP API of accounts and sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from auth import repository
from auth.dependencies import CurrentOwner, TheAccounts, TheCaller
from auth.schemas import (
    AccountChange,
    AccountView,
    PasswordChange,
    Registration,
    SessionList,
    SessionView,
)
from auth.service import ADMIN, EmailTaken, WrongPassword
from service_platform.database.session import DbReader, DbSession
from service_platform.errors import Conflict, InvalidCursor, NotFound, responses
from service_platform.identity import Principal, RequireRole
from service_platform.pagination import Page, PageOf
from service_platform.ratelimit import limit

router = APIRouter(prefix="/auth", tags=["accounts"])

Admin = Annotated[Principal, RequireRole(ADMIN)]


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    responses=responses(EmailTaken),
)
@limit("60/minute", by="address", fallback="10/minute")
async def register(
    registration: Registration, session: DbSession, accounts: TheAccounts
) -> AccountView:
    """Make an account. Log in with `POST /auth/token` afterwards."""
    return AccountView.model_validate(await accounts.register(session, registration))


@router.get("/me", summary="The account of the caller")
async def read_own_account(owner: CurrentOwner) -> AccountView:
    """The account of the caller, as it is now."""
    return AccountView.model_validate(owner.account)


@router.delete("/me", status_code=204, summary="Erase the account of the caller")
async def erase_own_account(owner: CurrentOwner, session: DbSession, accounts: TheAccounts) -> None:
    """Erase the account: tokens stop working at once, data of every service is deleted."""
    await accounts.erase(session, owner.account.id)


@router.put(
    "/password",
    status_code=204,
    summary="Change the password",
    responses=responses(WrongPassword, Conflict),
)
@limit("30/minute", fallback="5/minute")
async def change_password(
    change: PasswordChange,
    owner: CurrentOwner,
    session: DbSession,
    accounts: TheAccounts,
    caller: TheCaller,
) -> None:
    """Change the password. Every other session ends; this one goes on."""
    await accounts.change_password(session, owner.principal, change, caller.address)


@router.get("/sessions", summary="Logins that go on")
async def list_sessions(
    owner: CurrentOwner, reader: DbReader, accounts: TheAccounts
) -> SessionList:
    """Where the caller is logged in."""
    rows = await accounts.sessions(reader, owner.principal)
    return SessionList(
        items=[
            SessionView(
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


@router.delete("/sessions", status_code=204, summary="End every session")
async def end_every_session(owner: CurrentOwner, session: DbSession, accounts: TheAccounts) -> None:
    """Log out everywhere, here too."""
    await accounts.end_every_session(session, owner.principal)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End one session",
    responses=responses(NotFound),
)
async def end_session(
    session_id: UUID, owner: CurrentOwner, session: DbSession, accounts: TheAccounts
) -> None:
    """Log out one of the caller's sessions."""
    await accounts.end_session(session, owner.principal, session_id)


@router.get(
    "/accounts",
    summary="Accounts, the newest first",
    dependencies=[RequireRole(ADMIN)],
    responses=responses(InvalidCursor),
)
async def list_accounts(
    reader: DbReader,
    page: Page,
    q: Annotated[
        str | None,
        Query(max_length=254, description="Beginning of the address, or part of the name."),
    ] = None,
) -> PageOf[AccountView]:
    """For admins."""
    found = await repository.accounts_page(reader, page, q)
    return PageOf[AccountView](
        items=[AccountView.model_validate(row) for row in found.items],
        next_cursor=found.next_cursor,
    )


@router.patch(
    "/accounts/{account_id}",
    summary="Change state or roles of an account",
    responses=responses(NotFound, Conflict),
)
async def administer_account(
    account_id: UUID,
    change: AccountChange,
    admin: Admin,
    session: DbSession,
    accounts: TheAccounts,
) -> AccountView:
    """For admins. Deactivating an account, or taking a role away, ends its sessions."""
    return AccountView.model_validate(await accounts.administer(session, admin, account_id, change))
