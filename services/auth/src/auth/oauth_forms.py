"""Reads the requests of the OAuth endpoints: the form and the client (RFC 6749, sections 2.3, 3.2).

The form is read here rather than declared to FastAPI, because what is wrong with it has to be
answered in the form of RFC 6749, section 5.2.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from pydantic import BaseModel

from auth.clients import OAuthClient, authenticate
from auth.oauth_errors import OAuthError
from auth.schemas import GRANT_TYPES, PresentedTokenForm, TokenForm
from service_platform.database.session import DbReader, DbSession

FORM_TYPE: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 32


def form_of(model: type[BaseModel], description: str) -> dict[str, Any]:
    """Describe the form of an endpoint for its `openapi_extra`; see `openapi.FORMS`."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {
                FORM_TYPE: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}},
            },
        }
    }


async def read_form(request: Request) -> Mapping[str, str]:
    """Read the parameters of an OAuth request; those without a value count as not sent.

    Raises:
        OAuthError: `invalid_request` where it is no form, or a parameter is there twice.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise OAuthError("invalid_request", f"Send a form: Content-Type {FORM_TYPE}.")
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
    return {name: value for name, value in form.items() if value}


_Form = Annotated[Mapping[str, str], Depends(read_form)]


async def _token_form(form: _Form) -> TokenForm:
    """Read the parameters of the token endpoint.

    Raises:
        OAuthError: `invalid_request` or `unsupported_grant_type`.
    """
    if "grant_type" not in form:
        raise OAuthError("invalid_request", "grant_type is required.")
    if form["grant_type"] not in GRANT_TYPES:
        raise OAuthError("unsupported_grant_type", "This grant type is not supported.")
    return TokenForm.model_validate(form)


async def _oauth_client(
    request: Request, form: _Form, session: DbSession, reader: DbReader
) -> OAuthClient:
    """Authenticate the client; see `clients.authenticate`."""
    return await authenticate(session, reader, request.headers.get("authorization"), form)


CurrentClient = Annotated[OAuthClient, Depends(_oauth_client)]
TokenRequest = Annotated[TokenForm, Depends(_token_form)]


async def _presented_token(_: CurrentClient, form: _Form) -> str:
    """Read the token that a client presents; asked after the client, as RFC 7009 has it.

    Raises:
        OAuthError: `invalid_request` where there is none.
    """
    if "token" not in form:
        raise OAuthError("invalid_request", "token is required.")
    return PresentedTokenForm.model_validate(form).token


PresentedToken = Annotated[str, Depends(_presented_token)]

__all__ = ["CurrentClient", "PresentedToken", "TokenRequest", "form_of", "read_form"]
