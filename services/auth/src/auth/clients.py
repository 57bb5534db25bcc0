"""OAuth clients and how they prove who they are (RFC 6749, section 2.3)."""

import hashlib
import hmac
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus
from uuid import UUID

from auth import audit, repository
from auth.oauth_errors import OAuthError
from service_platform.database import Reader

FIRST_PARTY: Final = "first-party"
"""The built-in public client: our own front ends, curl, the docs pages. Needs no registration."""

GRANT_TYPES: Final = ("password", "refresh_token", "client_credentials")


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client that proved who it is, or that needs no proof.

    Attributes:
        id: `None` for the built-in one.
        client_id: its name.
        is_confidential: it has a secret and showed it.
        grant_types: what it may ask for.
        scopes: what its tokens can have; empty for the built-in one means all of an account.
    """

    id: UUID | None
    client_id: str
    is_confidential: bool
    grant_types: frozenset[str]
    scopes: frozenset[str]


FIRST_PARTY_CLIENT: Final = OAuthClient(
    id=None,
    client_id=FIRST_PARTY,
    is_confidential=False,
    grant_types=frozenset({"password", "refresh_token"}),
    scopes=frozenset(),
)


def new_secret() -> str:
    """A client secret with 256 random bits."""
    return "cs_" + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def authenticate(
    reader: Reader, authorization: bytes | None, form: Mapping[str, str]
) -> OAuthClient:
    """The client that sent the request.

    Args:
        reader: finds registered clients.
        authorization: the header; only Basic concerns clients.
        form: the body; has `client_id` and `client_secret` where the header is not used.

    Raises:
        OAuthError: `invalid_client`, or `invalid_request` where the client uses two methods.
    """
    client_id, secret = _presented(authorization, form)
    if client_id in {"", FIRST_PARTY} and not secret:
        return FIRST_PARTY_CLIENT
    row = await repository.client_named(reader, client_id)
    stored = row.secret_hash if row is not None else None
    offered = secret_hash(secret)
    proven = hmac.compare_digest(stored or bytes(32), offered) if secret else stored is None
    if row is None or not proven or (secret and stored is None):
        audit.record("client_refused", client=client_id if row is not None else None)
        raise OAuthError("invalid_client", "The client is not known or its secret is not correct.")
    return OAuthClient(
        id=row.id,
        client_id=row.client_id,
        is_confidential=stored is not None,
        grant_types=frozenset(row.grant_types),
        scopes=frozenset(row.scopes),
    )


def _presented(authorization: bytes | None, form: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret as sent; empty where there are none."""
    named, secret = form.get("client_id", ""), form.get("client_secret", "")
    if authorization is None or authorization[:6].lower() != b"basic ":
        return named, secret
    try:
        decoded = b64decode(authorization[6:].strip(), validate=True).decode("utf-8")
    except (Base64Error, ValueError):
        raise OAuthError("invalid_client", "The Authorization header cannot be read.") from None
    basic_id, _, basic_secret = decoded.partition(":")
    # Swagger UI sends empty credentials where its form was left empty.
    if not basic_id and not basic_secret:
        return named, secret
    if secret:
        raise OAuthError("invalid_request", "Authenticate the client in one way, not in two.")
    basic_id, basic_secret = unquote_plus(basic_id), unquote_plus(basic_secret)
    if named and named != basic_id:
        raise OAuthError("invalid_request", "The body names another client than the header.")
    return basic_id, basic_secret
