"""OAuth clients: how they authenticate (RFC 6749, section 2.3), and how operators register them."""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth import audit, repository
from auth.audit import AuditEvent
from auth.broadcast import Broadcast
from auth.oauth_errors import OAuthError
from auth.schemas import GRANT_TYPES
from service_platform.database import Reader

FIRST_PARTY: Final = "first-party"
"""The built-in public client: our own front ends, curl, the docs pages. Needs no registration."""

ACCOUNT_GRANT_TYPES: Final = frozenset({"password", "refresh_token"})
_is_scope: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+").fullmatch
"""A scope-token of RFC 6749, section 3.3."""


class ClientError(Exception):
    """A client cannot be registered or changed; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client that proved who it is, or that needs no proof.

    Attributes:
        id: `None` for the built-in one.
        client_id: its name.
        is_confidential: it has a secret and showed it.
        grant_types: what it may ask for.
        scopes: what its tokens can have at most; `None` for the built-in one: all of an account.
    """

    id: UUID | None
    client_id: str
    is_confidential: bool
    grant_types: frozenset[str]
    scopes: frozenset[str] | None


FIRST_PARTY_CLIENT: Final = OAuthClient(
    id=None,
    client_id=FIRST_PARTY,
    is_confidential=False,
    grant_types=ACCOUNT_GRANT_TYPES,
    scopes=None,
)


def new_secret() -> str:
    """Make a client secret with 256 random bits."""
    return "cs_" + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> bytes:
    """Hash a client secret for storage."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def authenticate(
    session: AsyncSession, reader: Reader, authorization: str | None, form: Mapping[str, str]
) -> OAuthClient:
    """Authenticate the client that sent the request.

    Args:
        session: gets the audit event of a refusal, which is committed.
        reader: finds registered clients.
        authorization: the header; the platform refuses requests with several.
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
        known = row.client_id if row is not None else None
        await audit.record(session, AuditEvent.CLIENT_REFUSED, client=known)
        await session.commit()
        raise OAuthError("invalid_client", "The client is not known or its secret is not correct.")
    return OAuthClient(
        id=row.id,
        client_id=row.client_id,
        is_confidential=stored is not None,
        grant_types=frozenset(row.grant_types),
        scopes=frozenset(row.scopes),
    )


def _presented(authorization: str | None, form: Mapping[str, str]) -> tuple[str, str]:
    """Return client id and secret as sent; empty where there are none."""
    named, secret = form.get("client_id", ""), form.get("client_secret", "")
    if authorization is None:
        return named, secret
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":  # the access token of whoever uses the client, not its own proof
        return named, secret
    if scheme.lower() != "basic":
        raise OAuthError("invalid_client", "Authenticate the client by HTTP Basic or in the body.")
    basic_id, basic_secret = _decode_basic(encoded)
    # Swagger UI sends empty credentials where its form was left empty.
    if not basic_id and not basic_secret:
        return named, secret
    if secret or "client_assertion" in form:
        raise OAuthError("invalid_request", "Authenticate the client in one way, not in two.")
    if named and named != basic_id:
        raise OAuthError("invalid_request", "The body names another client than the header.")
    return basic_id, basic_secret


def _decode_basic(encoded: str) -> tuple[str, str]:
    """Decode the credentials of HTTP Basic, form-encoded as RFC 6749, section 2.3.1, has them."""
    try:
        decoded = b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (Base64Error, ValueError):
        raise OAuthError("invalid_client", "The Authorization header cannot be read.") from None
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


async def create_client(
    session: AsyncSession,
    client_id: str,
    *,
    grant_types: Sequence[str],
    scopes: Sequence[str],
    description: str,
    public: bool,
) -> str | None:
    """Register a client.

    Args:
        session: the unit of work.
        client_id: its name.
        grant_types: which of `GRANT_TYPES` it may use.
        scopes: what its tokens can have at most; none where there are none.
        description: for people.
        public: it cannot keep a secret.

    Returns:
        Its secret, which is stored nowhere; `None` for a public client.

    Raises:
        ClientError: with what is wrong.
    """
    _require_valid(client_id, grant_types, scopes, public=public)
    secret = None if public else new_secret()
    added = None
    if client_id != FIRST_PARTY:
        added = await repository.add_client(
            session,
            client_id=client_id,
            description=description,
            secret_hash=secret_hash(secret) if secret else None,
            grant_types=list(grant_types),
            scopes=list(scopes),
        )
    if added is None:
        raise ClientError(f"There is a client {client_id} already.")
    await audit.record(
        session,
        AuditEvent.CLIENT_CREATED,
        client=client_id,
        grant_types=list(grant_types),
        scopes=list(scopes),
        public=public,
    )
    return secret


async def rotate_secret(session: AsyncSession, client_id: str) -> str:
    """Give a client another secret; the earlier one is refused from now on.

    Raises:
        ClientError: where there is no such client, or it has no secret.
    """
    secret = new_secret()
    if not await repository.replace_client_secret(session, client_id, secret_hash(secret)):
        raise ClientError(f"There is no client {client_id} with a secret.")
    await audit.record(session, AuditEvent.CLIENT_SECRET_ROTATED, client=client_id)
    return secret


async def delete_client(session: AsyncSession, broadcast: Broadcast, client_id: str) -> None:
    """Delete a client; its own tokens stop working at once.

    Raises:
        ClientError: where there is no such client.
    """
    identifier = await repository.delete_client(session, client_id)
    if identifier is None:
        raise ClientError(f"There is no client {client_id}.")
    await broadcast.record(session, "account", identifier)
    await audit.record(session, AuditEvent.CLIENT_DELETED, client=client_id)


def _require_valid(
    client_id: str, grant_types: Sequence[str], scopes: Sequence[str], *, public: bool
) -> None:
    if not client_id.isprintable() or ":" in client_id or not 0 < len(client_id) <= 64:
        raise ClientError("A client id has 1 to 64 printable characters, and no colon.")
    for grant_type in grant_types:
        if grant_type not in GRANT_TYPES:
            raise ClientError(
                f"There is no grant type {grant_type}; there are {', '.join(GRANT_TYPES)}."
            )
    if public and "client_credentials" in grant_types:
        raise ClientError("A public client cannot use client_credentials: it has no secret.")
    for scope in scopes:
        if not _is_scope(scope):
            raise ClientError(f"{scope!r} is not one scope; repeat --scope for several.")
    if not scopes and not ACCOUNT_GRANT_TYPES.isdisjoint(grant_types):
        raise ClientError(
            "Name the scopes that logins by this client can have: --scope, repeated for several."
        )


__all__ = [
    "FIRST_PARTY",
    "ClientError",
    "OAuthClient",
    "authenticate",
    "create_client",
    "delete_client",
    "new_secret",
    "rotate_secret",
    "secret_hash",
]
