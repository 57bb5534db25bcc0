"""Validation of access tokens: header, signature and claims (RFC 9068, section 4; RFC 8725).

`token_verifier.py` adds the issuer's keys, revocation and a cache.
"""

import json
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from joserfc import jws
from joserfc.errors import JoseError

from service_platform.identity.jwk_set import VerificationKey
from service_platform.identity.principal import Principal

MAX_TOKEN_LENGTH: Final = 4096
"""Characters; ours have about 900. Longer ones are refused before anything is decoded."""

MAX_KEY_ID_LENGTH: Final = 128
CLOCK_SKEW_SECONDS: Final = 5
"""How far ahead of this machine's clock the issuer's may be (`iat`, `nbf`)."""

_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_LARGEST_TIME: Final = 2**53


class InvalidTokenError(Exception):
    """The access token is not valid. The message says why and never quotes the token."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The issuer, audience and algorithm a service accepts.

    Attributes:
        issuer: the only `iss` accepted.
        audience: must be among `aud`.
        algorithm: the only `alg` accepted.
    """

    issuer: str
    audience: str
    algorithm: str

    def registry(self) -> jws.JWSRegistry:
        """Make a registry of joserfc with this one algorithm."""
        return jws.JWSRegistry(algorithms=[self.algorithm])


def validate_header(token: str, rules: TokenRules) -> str:
    """Validate size, form and header of a compact JWS; return the id of its key (`kid`).

    Nothing of the header chooses how the token is verified: `alg` must be the configured one, and
    members that point to keys (`jwk`, `jku`, `x5u`) are never read.

    Raises:
        InvalidTokenError: it is not a signed access token.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidTokenError("The access token is too long.")
    if not token.isascii() or token.count(".") != 2:
        raise InvalidTokenError("The access token is not a signed JWT.")
    header = _json_object(token[: token.index(".")])
    if header.get("alg") != rules.algorithm:
        raise InvalidTokenError(
            "The access token is signed with an algorithm that is not accepted."
        )
    kind = header.get("typ")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidTokenError("The token is not an access token.")
    if "crit" in header or "b64" in header:
        raise InvalidTokenError("The access token uses an extension that is not supported.")
    identifier = header.get("kid")
    if not isinstance(identifier, str) or not 0 < len(identifier) <= MAX_KEY_ID_LENGTH:
        raise InvalidTokenError("The access token names no key.")
    return identifier


def validate_token(
    token: str, key: VerificationKey, rules: TokenRules, registry: jws.JWSRegistry, now: float
) -> Principal:
    """Validate signature and claims of an access token; return its principal.

    Args:
        token: one that passed `validate_header`.
        key: the key of the issuer that its header names.
        rules: issuer, audience and algorithm to accept.
        registry: `rules.registry()`, made once.
        now: seconds since the epoch.

    Raises:
        InvalidTokenError: the signature or a claim is not valid.
    """
    try:
        jws.deserialize_compact(token, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        raise InvalidTokenError("The signature of the access token is not valid.") from None
    payload = token[token.index(".") + 1 : token.rindex(".")]
    return _validate_claims(_json_object(payload), rules, now)


def _json_object(segment: str) -> dict[str, Any]:
    """Decode one segment; duplicate members and `NaN` are refused (RFC 8725, section 2.4)."""
    try:
        text = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        value = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except (Base64Error, ValueError, RecursionError):
        raise InvalidTokenError("The access token cannot be decoded.") from None
    if not isinstance(value, dict):
        raise InvalidTokenError("The access token cannot be decoded.")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _refuse_constant(_: str) -> None:
    raise ValueError("not JSON")


def _validate_claims(claims: Mapping[str, Any], rules: TokenRules, now: float) -> Principal:
    if claims.get("iss") != rules.issuer:
        raise InvalidTokenError("The access token comes from another issuer.")
    audience = claims.get("aud")
    if audience != rules.audience and not (
        isinstance(audience, list) and rules.audience in audience
    ):
        raise InvalidTokenError("The access token is meant for another service.")
    expires_at = _time(claims, "exp")
    if expires_at <= now:
        raise InvalidTokenError("The access token has expired.")
    issued_at = _time(claims, "iat")
    if issued_at > now + CLOCK_SKEW_SECONDS:
        raise InvalidTokenError("The access token is not valid yet.")
    if "nbf" in claims and _time(claims, "nbf") > now + CLOCK_SKEW_SECONDS:
        raise InvalidTokenError("The access token is not valid yet.")
    return Principal(
        subject=_identifier(claims.get("sub")),
        client_id=_text(claims, "client_id"),
        scopes=frozenset(_text(claims, "scope", default="").split()),
        roles=frozenset(_names(claims.get("roles", []))),
        session_id=_identifier(claims["sid"]) if "sid" in claims else None,
        token_id=_text(claims, "jti"),
        expires_at=expires_at,
        issued_at=issued_at,
        email=_text(claims, "email") if "email" in claims else None,
        name=_text(claims, "name") if "name" in claims else None,
    )


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < _LARGEST_TIME:
        raise InvalidTokenError(f"The claim {name} of the access token is missing or not valid.")
    return value


def _text(claims: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = claims.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise InvalidTokenError(f"The claim {name} of the access token is missing or not valid.")
    return value


def _identifier(value: object) -> UUID:
    try:
        if isinstance(value, str):
            return UUID(value)
    except ValueError:
        pass
    raise InvalidTokenError("An identifier in the access token is missing or not valid.")


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidTokenError("The claim roles of the access token is not valid.")
    return value
