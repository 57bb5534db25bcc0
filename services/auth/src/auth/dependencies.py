"""What auth's routes ask for."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from auth import repository
from auth.clients import OAuthClient, authenticate
from auth.grants import Caller, Grants
from auth.oauth_errors import OAuthError
from auth.repository import Record
from auth.service import Accounts
from auth.settings import ACCOUNT_SCOPE
from service_platform.context import SCOPE_KEY, RequestContext
from service_platform.database.session import DbReader
from service_platform.errors import Forbidden, Unauthorized
from service_platform.identity import Principal, RequireScope

FORM_TYPE = b"application/x-www-form-urlencoded"
MAX_FIELDS = 32


async def _accounts(request: Request) -> Accounts:
    accounts: Accounts = request.app.state.accounts
    return accounts


async def _grants(request: Request) -> Grants:
    grants: Grants = request.app.state.grants
    return grants


async def _caller(request: Request) -> Caller:
    context: RequestContext = request.scope[SCOPE_KEY]
    agent = context.headers.get(b"user-agent", b"").decode("latin-1")
    printable = "".join(character for character in agent if character.isprintable())
    return Caller(context.client_address, printable or None)


@dataclass(frozen=True, slots=True)
class Owner:
    """The account a request is made by, read from the database for this request."""

    principal: Principal
    account: Record


async def _owner(
    principal: Annotated[Principal, RequireScope(ACCOUNT_SCOPE)], reader: DbReader
) -> Owner:
    """Whoever acts on their own account.

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


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of an OAuth request (RFC 6749, section 3.2).

    Raises:
        OAuthError: `invalid_request` where it is no form, or a parameter is there twice.
    """
    context: RequestContext = request.scope[SCOPE_KEY]
    kind = context.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise OAuthError("invalid_request", f"Send a form: Content-Type {FORM_TYPE.decode()}.")
    body = await request.body()
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise OAuthError("invalid_request", "The form cannot be read.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError("invalid_request", "A parameter is there more than once.")
    return form


async def identify_client(request: Request, reader: DbReader, form: dict[str, str]) -> OAuthClient:
    """The client behind an OAuth request; see `clients.authenticate`."""
    context: RequestContext = request.scope[SCOPE_KEY]
    return await authenticate(reader, context.headers.get(b"authorization"), form)


TheAccounts = Annotated[Accounts, Depends(_accounts)]
TheGrants = Annotated[Grants, Depends(_grants)]
TheCaller = Annotated[Caller, Depends(_caller)]
CurrentOwner = Annotated[Owner, Depends(_owner)]
