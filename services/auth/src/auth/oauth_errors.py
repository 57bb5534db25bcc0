"""Errors of the OAuth endpoints, in the form of RFC 6749, section 5.2."""

from typing import Final, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from auth.schemas import OAuthErrorRead

NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}

ErrorCode = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
]


class OAuthError(Exception):
    """A refusal that tells an OAuth client what is wrong; raise it anywhere below an endpoint.

    Args:
        error: one of the codes of RFC 6749, section 5.2.
        description: one sentence for the developer of the client.
    """

    def __init__(self, error: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


async def handle_oauth_error(_: Request, error: OAuthError) -> Response:
    """Answer 400, or 401 with a challenge where the client did not prove who it is."""
    headers = dict(NO_STORE)
    status = 400
    if error.error == "invalid_client":
        status = 401
        headers["www-authenticate"] = 'Basic realm="auth", charset="UTF-8"'
    content = OAuthErrorRead(error=error.error, error_description=error.description)
    return JSONResponse(content.model_dump(), status, headers)


def invalid_login() -> OAuthError:
    """Make the one error of every login that fails, whatever the reason."""
    return OAuthError("invalid_grant", "The address or the password is not correct.")


def invalid_refresh_token() -> OAuthError:
    """Make the one error of every refresh token that is not accepted, whatever the reason."""
    return OAuthError("invalid_grant", "The refresh token is not valid any more. Log in again.")


def unauthenticated_client() -> OAuthError:
    """Make the error for a client that has to authenticate by a secret and did not."""
    return OAuthError("invalid_client", "Authenticate with a client id and a secret.")
