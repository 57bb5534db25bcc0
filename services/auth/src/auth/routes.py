"""The HTTP API of accounts and sessions.

Nothing here has an entity tag. Preconditions of a change are evaluated last, after every other
refusal (RFC 9110, section 13.2.1): one that does not hold rolls the unit of work back.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

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
from service_platform.etags import NOT_MODIFIED_RESPONSE, PRECONDITION_RESPONSES, Preconditions
from service_platform.pagination import KeysetPage, PageQuery
from service_platform.ratelimit import limit
from service_platform.text import OneLine

router = APIRouter(prefix="/auth", tags=["accounts"])


@router.post(
    "/register",
    status_code=201,
    summary="Register an account",
    response_model=AccountRead,
    responses={**PRECONDITION_RESPONSES, **responses(EmailTaken)},
)
@limit("60/minute", by="address", fallback="10/minute")
async def register(
    account: AccountCreate,
    session: DbSession,
    resources: Resources,
    preconditions: Preconditions,
) -> AccountRow:
    """Register an account. Log in with `POST /auth/token` afterwards.

    Preconditions are those of the collection of accounts, which exists and has no `ETag`.
    """
    registered = await accounts.register(session, resources, account)
    preconditions.check(None)
    return registered


@router.get(
    "/me",
    summary="Get the account of the caller",
    response_model=AccountRead,
    responses={**PRECONDITION_RESPONSES, **NOT_MODIFIED_RESPONSE},
)
async def read_own_account(owner: CurrentOwner, preconditions: Preconditions) -> AccountRow:
    """Return the account of the caller, as it is now. It has no `ETag`."""
    preconditions.check(None)
    return owner.account


@router.delete(
    "/me",
    status_code=204,
    summary="Erase the account of the caller",
    responses={**PRECONDITION_RESPONSES, **responses(LastAdmin, Conflict)},
)
async def erase_own_account(
    owner: CurrentOwner, session: DbSession, resources: Resources, preconditions: Preconditions
) -> None:
    """Erase the account: tokens stop working at once, data of every service is deleted.

    The only active admin has to make another one first.
    """
    await accounts.erase(session, resources, owner.account.id)
    preconditions.check(None)


@router.put(
    "/password",
    status_code=204,
    summary="Change the password",
    responses={**PRECONDITION_RESPONSES, **responses(WrongPassword, Conflict)},
)
@limit("30/minute", fallback="5/minute")
async def change_password(
    change: PasswordUpdate,
    owner: CurrentOwner,
    session: DbSession,
    resources: Resources,
    caller: CurrentCaller,
    *,
    preconditions: Preconditions,
) -> None:
    """Change the password. Every other session ends; this one goes on."""
    await accounts.change_password(session, resources, owner.principal, change, caller.address)
    preconditions.check(None)


@router.get(
    "/sessions",
    summary="List the sessions of the caller",
    responses={**PRECONDITION_RESPONSES, **NOT_MODIFIED_RESPONSE},
)
async def list_sessions(
    owner: CurrentOwner, reader: DbReader, preconditions: Preconditions
) -> SessionList:
    """List where the caller is logged in. The list has no `ETag`."""
    preconditions.check(None)
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


@router.delete(
    "/sessions",
    status_code=204,
    summary="End every session of the caller",
    responses=PRECONDITION_RESPONSES,
)
async def end_every_session(
    owner: CurrentOwner, session: DbSession, resources: Resources, preconditions: Preconditions
) -> None:
    """Log out everywhere, here too."""
    await sessions.end_own_sessions(session, resources.broadcast, owner.principal)
    preconditions.check(None)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End one session of the caller",
    responses={**PRECONDITION_RESPONSES, **responses(NotFound)},
)
async def end_session(
    session_id: Annotated[UUID, Path(description="The `id` of the session.")],
    owner: CurrentOwner,
    session: DbSession,
    resources: Resources,
    preconditions: Preconditions,
) -> None:
    """Log out one of the caller's sessions."""
    await sessions.end_session(session, resources.broadcast, owner.principal, session_id)
    preconditions.check(None)


@router.get(
    "/accounts",
    summary="List accounts, the newest first",
    response_model=AccountPage,
    responses={**PRECONDITION_RESPONSES, **NOT_MODIFIED_RESPONSE, **responses(InvalidCursor)},
)
async def list_accounts(
    _: Admin,
    reader: DbReader,
    page: PageQuery,
    preconditions: Preconditions,
    q: Annotated[
        OneLine | None,
        Query(max_length=254, description="Beginning of the address, or part of the name."),
    ] = None,
) -> KeysetPage[AccountRow]:
    """List all accounts, page by page; for admins. The list has no `ETag`."""
    preconditions.check(None)
    return await repository.page_of_accounts(reader, page, q)


@router.patch(
    "/accounts/{account_id}",
    summary="Change state or roles of an account",
    response_model=AccountRead,
    responses={**PRECONDITION_RESPONSES, **responses(NotFound, Conflict, LastAdmin)},
)
async def administer_account(
    account_id: Annotated[UUID, Path(description="The `id` of the account.")],
    change: AccountUpdate,
    admin: Admin,
    session: DbSession,
    resources: Resources,
    *,
    preconditions: Preconditions,
) -> AccountRow:
    """Change state or roles of an account; for admins.

    Deactivating an account, or taking a role away, ends its sessions.
    """
    changed = await administration.update_account(session, resources, admin, account_id, change)
    preconditions.check(None)
    return changed
