"""Errors of the OAuth endpoints, in the form of RFC 6749, section 5.2."""

from typing import Final

import orjson
from starlette.responses import Response

NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}


class OAuthError(Exception):
    """An answer to an OAuth client that says what is wrong.

    Args:
        error: one of the codes of RFC 6749, section 5.2.
        description: one sentence for the developer of the client.
    """

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description

    def response(self) -> Response:
        """The answer: 400, or 401 with a challenge where the client did not prove who it is."""
        headers = dict(NO_STORE)
        status = 400
        if self.error == "invalid_client":
            status = 401
            headers["www-authenticate"] = 'Basic realm="auth", charset="UTF-8"'
        return json_response(
            {"error": self.error, "error_description": self.description}, status, headers
        )


def invalid_login() -> OAuthError:
    """The one answer to every login that fails, whatever the reason."""
    return OAuthError("invalid_grant", "The address or the password is not correct.")


def invalid_refresh_token() -> OAuthError:
    """The one answer to every refresh token that is not accepted, whatever the reason."""
    return OAuthError("invalid_grant", "The refresh token is not valid any more. Log in again.")


def json_response(
    content: dict[str, object], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A JSON answer that no cache keeps."""
    return Response(
        orjson.dumps(content),
        status_code=status,
        headers=NO_STORE if headers is None else headers,
        media_type="application/json",
    )
