"""What auth's routes ask for: resources, the caller, the owner of an account, an admin."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from auth import repository
from auth.caller import Caller
from auth.repository import AccountRow
from auth.repository.admins import ADMIN
from auth.resources import AuthResources
from auth.settings import ACCOUNT_SCOPE
from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.database.session import DbReader
from service_platform.errors import Forbidden, Unauthorized
from service_platform.identity import Principal, RequireRole, RequireScope

Admin = Annotated[Principal, RequireRole(ADMIN)]


async def _resources(request: Request) -> AuthResources:
    resources: AuthResources = request.app.state.auth
    return resources


async def _caller(request: Request) -> Caller:
    context: RequestContext = request.scope[SCOPE_KEY]
    agent = request.headers.get("user-agent", "")
    printable = "".join(character for character in agent if character.isprintable())
    return Caller(context.client_address, printable or None)


@dataclass(frozen=True, slots=True)
class Owner:
    """The account a request is made by, read from the database for this request."""

    principal: Principal
    account: AccountRow


async def _owner(
    principal: Annotated[Principal, RequireScope(ACCOUNT_SCOPE)], reader: DbReader
) -> Owner:
    """Find the account that acts on itself.

    Raises:
        Forbidden: for a client's own token.
        Unauthorized: where the session is over, heard of by broadcast or not.
    """
    if principal.session_id is None:
        raise Forbidden("This needs the token of an account.")
    account = await repository.live_account(reader, principal.subject, principal.session_id)
    if account is None:
        raise Unauthorized("The access token was revoked.", error="invalid_token")
    return Owner(principal, account)


Resources = Annotated[AuthResources, Depends(_resources)]
CurrentCaller = Annotated[Caller, Depends(_caller)]
CurrentOwner = Annotated[Owner, Depends(_owner)]

__all__ = ["Admin", "CurrentCaller", "CurrentOwner", "Owner", "Resources"]
